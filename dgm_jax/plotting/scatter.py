"""Samples in the plane."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from dgm_jax.core import require
from dgm_jax.plotting.style import THEMES, dress, legend, new_figure

_MAX_POINTS = 5000


def scatter_samples(
    samples,
    means=None,
    *,
    scale: float | None = None,
    titles: list[str] | None = None,
    limits: tuple[float, float, float, float] | None = None,
    max_panels: int = 12,
    title: str = "",
    theme: str = "light",
) -> Figure:
    """One panel per seed, points coloured by how many lie near them.

    samples: [S, N, 2] (or [N, 2] for one seed); rows that are not finite are left out, and a seed
        with none left says
    so. means: [K, 2], marked by crosses; with `scale` (standard deviation) a circle of three of
    them around each.
    limits: (x low, x high, y low, y high), the same for all panels; chosen from the means, or else
    from the middle 99 % of the samples. A panel says how many of its points lie outside. At most
    5,000 points of a seed are drawn (every n-th) and at most `max_panels` seeds, which the title
    then says.
    """
    samples = np.asarray(samples, np.float64)
    samples = samples[None] if samples.ndim == 2 else samples
    require(
        samples.ndim == 3 and samples.shape[-1] == 2,
        f"scatter_samples: expected samples of shape [S, N, 2] or [N, 2], found {samples.shape}",
    )
    means = None if means is None else np.asarray(means, np.float64)
    require(
        means is None or means.ndim == 2 and means.shape[-1] == 2,
        "scatter_samples: expected means of shape [K, 2], found"
        f" {None if means is None else means.shape}",
    )
    shown = min(len(samples), max_panels)
    if shown < len(samples):
        title = f"{title} (first {shown} of {len(samples)} seeds)".strip()
    limits = limits or _limits(samples, means)
    columns = min(shown, 5) if shown != 6 else 3
    rows = math.ceil(shown / columns)
    figure = new_figure(max(2.2 * columns, 3.2), 2.35 * rows + (0.35 if title else 0), theme)
    if title:
        figure.suptitle(title, color=THEMES[theme].text, fontsize=11)
    panels = figure.subplots(rows, columns, squeeze=False)
    for index, axes in enumerate(panels.flat):
        if index >= shown:
            axes.set_visible(False)
            continue
        name = titles[index] if titles else f"seed {index}" if len(samples) > 1 else ""
        _panel(axes, samples[index], means, scale, limits, name, theme)
    return figure


def scatter_groups(
    groups,
    names: list[str],
    *,
    limits: tuple[float, float, float, float],
    titles: list[str],
    title: str = "",
    theme: str = "light",
) -> Figure:
    """One panel each of several groups of points in the plane, a colour a group.

    groups: [P, G, N, 2] for P panels and G groups; names: of the groups; titles: of the panels.
        limits: (x low, x high,
    y low, y high) of every panel.
    """
    groups = np.asarray(groups, np.float64)
    require(
        groups.ndim == 4
        and groups.shape[-1] == 2
        and groups.shape[:2] == (len(titles), len(names)),
        f"scatter_groups: expected groups [{len(titles)}, {len(names)}, N, 2], found"
        f" {groups.shape}",
    )
    columns = min(len(groups), 4)
    rows = math.ceil(len(groups) / columns)
    figure = new_figure(2.6 * columns + 1.0, 2.5 * rows + (0.35 if title else 0), theme)
    if title:
        figure.suptitle(title, color=THEMES[theme].text, fontsize=11)
    panels = figure.subplots(rows, columns, squeeze=False)
    palette = THEMES[theme].palette
    colours = [palette[index % len(palette)] for index in range(len(names))]
    for index, axes in enumerate(panels.flat):
        if index >= len(groups):
            axes.set_visible(False)
            continue
        dress(axes, theme, title=titles[index], grid=False)
        for points, name, colour in zip(groups[index], names, colours, strict=True):
            points = points[np.isfinite(points).all(axis=1)][:_MAX_POINTS]
            axes.scatter(
                points[:, 0],
                points[:, 1],
                s=2,
                linewidths=0,
                color=colour,
                label=name,
                rasterized=True,
            )
        axes.set(xlim=limits[:2], ylim=limits[2:], aspect="equal")
    legend(panels.flat[0], theme, beside=True)
    return figure


def _limits(samples, means):
    """A square that holds the means with a margin, or the middle 99 % of the samples."""
    points = samples.reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    if means is not None and len(means):
        low, high = means.min(axis=0), means.max(axis=0)
    elif len(points):
        low, high = np.quantile(points, 0.005, axis=0), np.quantile(points, 0.995, axis=0)
    else:
        low, high = np.full(2, -1.0), np.full(2, 1.0)
    centre, half = (low + high) / 2, max(float((high - low).max()) / 2 * 1.35, 1e-3)
    return centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half


def _panel(axes: Axes, points, means, scale, limits, name, theme):
    colours = THEMES[theme]
    total = len(points)
    points = points[np.isfinite(points).all(axis=1)]
    left, right, bottom, top = limits
    inside = (
        (points[:, 0] >= left)
        & (points[:, 0] <= right)
        & (points[:, 1] >= bottom)
        & (points[:, 1] <= top)
    )
    outside = int(len(points) - inside.sum())
    drawn = points[inside][:: max(1, math.ceil(inside.sum() / _MAX_POINTS))]
    if len(drawn):
        density = _density(drawn, limits)
        order = np.argsort(density, kind="stable")
        axes.scatter(
            drawn[order, 0],
            drawn[order, 1],
            c=density[order],
            s=3,
            linewidths=0,
            cmap="viridis",
            rasterized=True,
        )
    if means is not None:
        axes.scatter(
            means[:, 0], means[:, 1], marker="x", s=22, linewidths=0.9, color=colours.palette[1]
        )
        for mean in means if scale else ():
            axes.add_patch(
                Circle(tuple(mean), 3 * scale, fill=False, linewidth=0.7, color=colours.palette[1])
            )
    if not len(points):
        axes.text(
            0.5,
            0.5,
            "no finite sample",
            transform=axes.transAxes,
            ha="center",
            color=colours.text,
            fontsize=9,
        )
    lost = [
        f"{outside} outside" if outside else "",
        f"{total - len(points)} not finite" if total > len(points) else "",
    ]
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_aspect("equal")
    dress(axes, theme, title=name, xlabel=", ".join(filter(None, lost)), grid=False)
    axes.set_title(axes.get_title(loc="left"), loc="left", fontsize=9)
    axes.xaxis.label.set_fontsize(8)
    axes.tick_params(labelsize=7)


def _density(points, limits, bins: int = 60):
    """Points in the same square of a 60 x 60 histogram, as a logarithm, for every point."""
    left, right, bottom, top = limits
    counts, *_ = np.histogram2d(
        points[:, 0], points[:, 1], bins=bins, range=((left, right), (bottom, top))
    )
    column = np.clip(((points[:, 0] - left) / (right - left) * bins).astype(int), 0, bins - 1)
    row = np.clip(((points[:, 1] - bottom) / (top - bottom) * bins).astype(int), 0, bins - 1)
    return np.log(np.maximum(counts[column, row], 1.0))
