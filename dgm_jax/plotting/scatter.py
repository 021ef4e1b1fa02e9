"""Scatter plots of samples in the plane."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import ArrayLike

from dgm_jax.core import require
from dgm_jax.plotting.style import THEMES, dress, legend, new_figure

_MAX_POINTS = 5000

Limits = tuple[float, float, float, float]  # x low, x high, y low, y high


def scatter_samples(
    samples: ArrayLike,
    means: ArrayLike | None = None,
    *,
    scale: float | None = None,
    titles: Sequence[str] | None = None,
    limits: Limits | None = None,
    max_panels: int = 12,
    title: str = "",
    theme: str = "light",
) -> Figure:
    """Plot samples, a panel per seed, with points colored by how many lie near them.

    Rows that are not finite are left out, and a panel without any finite one says so. A panel also
    says how many of its points lie outside. At most 5,000 points of a seed are drawn (every n-th),
    and at most `max_panels` seeds, which the title then says.

    Args:
        samples: [S, N, 2], or [N, 2] for one seed.
        means: [K, 2], marked by crosses.
        scale: standard deviation of the modes; a circle of three of them is drawn around each mean.
        titles: of the panels; by default the number of the seed.
        limits: (x low, x high, y low, y high) of all panels; by default chosen from the means, or
            from the middle 99 % of the samples.
        max_panels: largest number of panels.
        title: title of the plot.
        theme: "light" or "dark".

    Returns:
        The plot.

    Raises:
        ConfigError: for shapes that do not fit.
    """
    seeds, modes = _checked(samples, means)
    num_seeds = len(seeds)
    num_panels = min(num_seeds, max_panels)
    if num_panels < num_seeds:
        title = f"{title} (first {num_panels} of {num_seeds} seeds)".strip()
    if not titles and num_seeds > 1:
        titles = [f"seed {index}" for index in range(num_panels)]
    limits = limits or _limits(seeds, modes)
    columns = 3 if num_panels == 6 else min(num_panels, 5)
    rows = math.ceil(num_panels / columns)
    size = (max(2.2 * columns, 3.2), 2.35 * rows)
    figure, panels = _panels(num_panels, columns, size, title, theme)
    color_of_modes = THEMES[theme].palette[1]
    for index, axes in enumerate(panels):
        _draw_samples(axes, seeds[index], limits, theme)
        if modes is not None:
            _draw_modes(axes, modes, scale, color_of_modes)
        panel_title = titles[index] if titles else ""
        _dress_panel(axes, panel_title, theme)
    return figure


def scatter_groups(
    groups: ArrayLike,
    names: Sequence[str],
    *,
    limits: Limits,
    titles: Sequence[str],
    title: str = "",
    theme: str = "light",
) -> Figure:
    """Plot several groups of points, a color per group.

    Args:
        groups: [P, G, N, 2] for P panels and G groups.
        names: of the groups.
        limits: (x low, x high, y low, y high) of every panel.
        titles: of the panels.
        title: title of the plot.
        theme: "light" or "dark".

    Returns:
        The plot.

    Raises:
        ConfigError: for shapes that do not fit.
    """
    points = np.asarray(groups, np.float64)
    num_panels = len(titles)
    num_groups = len(names)
    are_planar = points.ndim == 4 and points.shape[-1] == 2
    require(
        are_planar and points.shape[:2] == (num_panels, num_groups),
        f"scatter_groups: expected groups [{num_panels}, {num_groups}, N, 2], found {points.shape}",
    )
    columns = min(num_panels, 4)
    rows = math.ceil(num_panels / columns)
    size = (2.6 * columns + 1.0, 2.5 * rows)
    figure, panels = _panels(num_panels, columns, size, title, theme)
    palette = THEMES[theme].palette
    for axes, panel_title, panel_groups in zip(panels, titles, points, strict=True):
        dress(axes, theme, title=panel_title, grid=False)
        for index, (name, group) in enumerate(zip(names, panel_groups, strict=True)):
            drawn = _finite(group)[:_MAX_POINTS]
            axes.scatter(
                drawn[:, 0],
                drawn[:, 1],
                s=2,
                linewidths=0,
                color=palette[index % len(palette)],
                label=name,
                rasterized=True,
            )
        axes.set(xlim=limits[:2], ylim=limits[2:], aspect="equal")
    legend(panels[0], theme, beside=True)
    return figure


def _checked(samples: ArrayLike, means: ArrayLike | None) -> tuple[np.ndarray, np.ndarray | None]:
    """samples [S, N, 2] and means [K, 2] or None."""
    seeds = np.asarray(samples, np.float64)
    if seeds.ndim == 2:
        seeds = seeds[None]
    require(
        seeds.ndim == 3 and seeds.shape[-1] == 2,
        f"scatter_samples: expected samples of shape [S, N, 2] or [N, 2], found {seeds.shape}",
    )
    if means is None:
        return seeds, None
    modes = np.asarray(means, np.float64)
    require(
        modes.ndim == 2 and modes.shape[-1] == 2,
        f"scatter_samples: expected means of shape [K, 2], found {modes.shape}",
    )
    return seeds, modes


def _panels(
    num_panels: int, num_columns: int, size: tuple[float, float], title: str, theme: str
) -> tuple[Figure, list[Axes]]:
    """A figure with that many panels, and a title above them if there is one."""
    width, height = size
    if title:
        height += 0.35
    figure = new_figure(width, height, theme)
    if title:
        figure.suptitle(title, color=THEMES[theme].text, fontsize=11)
    num_rows = math.ceil(num_panels / num_columns)
    panels = list(figure.subplots(num_rows, num_columns, squeeze=False).flat)
    for axes in panels[num_panels:]:
        axes.set_visible(False)
    return figure, panels[:num_panels]


def _finite(points: np.ndarray) -> np.ndarray:
    """The points [N, 2] that are finite."""
    is_finite = np.isfinite(points).all(axis=1)
    return points[is_finite]


def _limits(samples: np.ndarray, means: np.ndarray | None) -> Limits:
    """A square that holds the means with a margin, or the middle 99 % of the samples."""
    points = _finite(samples.reshape(-1, 2))
    if means is not None and len(means):
        low = means.min(axis=0)
        high = means.max(axis=0)
    elif len(points):
        low = np.quantile(points, 0.005, axis=0)
        high = np.quantile(points, 0.995, axis=0)
    else:
        low = np.full(2, -1.0)
        high = np.full(2, 1.0)
    x, y = (low + high) / 2
    width = float((high - low).max())
    half = max(width / 2 * 1.35, 1e-3)
    return x - half, x + half, y - half, y + half


def _draw_samples(axes: Axes, samples: np.ndarray, limits: Limits, theme: str) -> None:
    """The points within the limits, the axes, and how many points are missing."""
    text_color = THEMES[theme].text
    points = _finite(samples)
    left, right, bottom, top = limits
    x = points[:, 0]
    y = points[:, 1]
    is_inside = (x >= left) & (x <= right) & (y >= bottom) & (y <= top)
    num_inside = int(is_inside.sum())
    every = max(1, math.ceil(num_inside / _MAX_POINTS))
    drawn = points[is_inside][::every]
    if len(drawn):
        _draw_by_density(axes, drawn, limits)
    if not len(points):
        axes.text(
            0.5,
            0.5,
            "no finite sample",
            transform=axes.transAxes,
            ha="center",
            color=text_color,
            fontsize=9,
        )
    num_outside = len(points) - num_inside
    num_not_finite = len(samples) - len(points)
    missing = []
    if num_outside:
        missing.append(f"{num_outside} outside")
    if num_not_finite:
        missing.append(f"{num_not_finite} not finite")
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_aspect("equal")
    axes.set_xlabel(", ".join(missing))


def _draw_modes(axes: Axes, means: np.ndarray, scale: float | None, color: str) -> None:
    """A cross at each mean, and a circle of three standard deviations around it."""
    axes.scatter(means[:, 0], means[:, 1], marker="x", s=22, linewidths=0.9, color=color)
    if scale:
        for mean in means:
            circle = Circle(tuple(mean), 3 * scale, fill=False, linewidth=0.7, color=color)
            axes.add_patch(circle)


def _dress_panel(axes: Axes, name: str, theme: str) -> None:
    """Colors and small texts of a panel."""
    dress(axes, theme, title=name, xlabel=axes.get_xlabel(), grid=False)
    title = axes.get_title(loc="left")
    axes.set_title(title, loc="left", fontsize=9)
    axes.xaxis.label.set_fontsize(8)
    axes.tick_params(labelsize=7)


def _draw_by_density(axes: Axes, points: np.ndarray, limits: Limits) -> None:
    """Points colored by the local density, the densest on top."""
    density = _density(points, limits)
    order = np.argsort(density, kind="stable")
    axes.scatter(
        points[order, 0],
        points[order, 1],
        c=density[order],
        s=3,
        linewidths=0,
        cmap="viridis",
        rasterized=True,
    )


def _density(points: np.ndarray, limits: Limits, bins: int = 60) -> np.ndarray:
    """For every point the logarithm of how many lie in its cell of a 60 x 60 histogram."""
    left, right, bottom, top = limits
    x = points[:, 0]
    y = points[:, 1]
    ranges = ((left, right), (bottom, top))
    counts, *_ = np.histogram2d(x, y, bins=bins, range=ranges)
    column = _bin_of(x, left, right, bins)
    row = _bin_of(y, bottom, top, bins)
    return np.log(np.maximum(counts[column, row], 1.0))


def _bin_of(values: np.ndarray, low: float, high: float, bins: int) -> np.ndarray:
    """The bin of each value, of so many from low to high."""
    place = (values - low) / (high - low) * bins
    return np.clip(place.astype(int), 0, bins - 1)
