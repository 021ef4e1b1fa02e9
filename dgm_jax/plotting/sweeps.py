"""Plots of a value against the settings that were swept."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from dgm_jax.core import require
from dgm_jax.plotting.curves import limit_by_lines, mean_and_band
from dgm_jax.plotting.style import (
    THEMES,
    dress,
    label,
    legend,
    line_style,
    new_figure,
    rows_beneath,
)


def values_by_setting(
    settings: Sequence[Any],
    groups: Mapping[str, ArrayLike],
    *,
    title: str = "",
    xlabel: str = "",
    log_x: bool = False,
    limits: Sequence[float | None] = (None, None),
    levels: Mapping[str, float] | None = None,
    theme: str = "light",
) -> Figure:
    """Plot a dot for each seed, the mean over seeds and its 95 % interval, against a setting.

    Args:
        settings: [P] numbers in rising order, or names, which are drawn side by side.
        groups: name -> [P, S]; NaN if a seed has no value. Groups are drawn slightly apart.
        title: title of the plot.
        xlabel: name of the setting.
        log_x: whether the horizontal axis is logarithmic; for positive numbers.
        limits: (lowest, highest) possible value, None for an open end; intervals are clipped to it.
        levels: name -> height of a dashed horizontal line.
        theme: "light" or "dark".

    Returns:
        The plot; its vertical axis covers dots, means and levels.

    Raises:
        ConfigError: for shapes that do not fit.
    """
    levels = levels or {}
    numeric = all(isinstance(s, (int, float)) and not isinstance(s, bool) for s in settings)
    positions = np.asarray(settings if numeric else range(len(settings)), np.float64)
    group_names = filter(None, groups)
    rows = rows_beneath([*group_names, *levels])
    beneath = 0.22 * rows if rows > 1 else 0.0
    figure = new_figure(4.7, 2.8 + beneath, theme, layout="constrained")
    axes = figure.subplots()
    for index, (name, values) in enumerate(groups.items()):
        y = _checked(name, values, len(positions))
        shift = _shift_of_group(index, len(groups))
        x = _shifted(positions, shift, log_x)
        color = line_style(index, theme)["color"]
        _draw_group(axes, x, y, name, limits, color)
    color = THEMES[theme].text
    for name, level in levels.items():
        axes.axhline(level, linewidth=1.2, linestyle="--", color=color, label=label(name))
    if log_x:
        axes.set_xscale("log")
    axes.minorticks_off()
    texts = [f"{s:g}" if numeric else s for s in settings]
    axes.set_xticks(positions, [label(text) for text in texts])
    heights = list(levels.values())
    limit_by_lines(axes, [*groups.values(), heights])
    dress(axes, theme, title=title, xlabel=xlabel)
    if any(groups) or levels:
        legend(axes, theme, rows=rows)
    return figure


def _checked(name: str, values: ArrayLike, num_settings: int) -> np.ndarray:
    """A group's values [P, S], with a row for each setting."""
    y = np.asarray(values, np.float64)
    require(
        y.ndim == 2 and len(y) == num_settings,
        f"{name!r}: expected shape [{num_settings}, S], got {y.shape}",
    )
    return y


def _shift_of_group(index: int, num_groups: int) -> float:
    """How far beside its setting a group is drawn, as a share of the distance of two settings."""
    centred_index = index - (num_groups - 1) / 2
    num_gaps = max(1, num_groups - 1)
    return centred_index * 0.15 / num_gaps


def _shifted(positions: np.ndarray, shift: float, log: bool) -> np.ndarray:
    """Positions moved by a share of their smallest distance."""
    if shift == 0.0 or positions.size == 0:
        return positions
    x = np.log(positions) if log else positions
    distance = np.diff(x).min() if positions.size > 1 else 1.0
    x = x + shift * distance
    return np.exp(x) if log else x


def _draw_group(
    axes: Axes,
    x: np.ndarray,
    values: np.ndarray,
    name: str,
    limits: Sequence[float | None],
    color: str,
) -> None:
    """Dots, means and intervals (within the limits) of [P, S]."""
    mean, low, high = mean_and_band(values)
    lowest, highest = (np.nan if limit is None else float(limit) for limit in limits)
    has_interval = np.isfinite(high - low)  # at least two seeds
    clipped_low = np.fmin(np.fmax(low, lowest), mean)
    clipped_high = np.fmax(np.fmin(high, highest), mean)
    low = np.where(has_interval, clipped_low, mean)
    high = np.where(has_interval, clipped_high, mean)
    dots = {"s": 14, "color": color, "alpha": 0.45, "linewidths": 0}
    num_seeds = values.shape[1]
    axes.scatter(np.repeat(x, num_seeds), values.ravel(), **dots)
    ends = np.nan_to_num(np.stack([mean - low, high - mean]))
    line = {"linewidth": 1.2, "marker": "o", "markersize": 6, "capsize": 4}
    text = label(name) if name else None
    axes.errorbar(x, mean, yerr=ends, color=color, label=text, **line)


def heatmap_of_settings(
    values: ArrayLike,
    columns: Sequence[str],
    rows: Sequence[str],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    theme: str = "light",
) -> Figure:
    """Plot a value for each pair of two settings as colors, with the numbers on them.

    Args:
        values: [rows, columns]; cells that are not finite stay blank.
        columns: values of the setting on the horizontal axis, as text.
        rows: values of the setting on the vertical axis, as text.
        title: title of the plot.
        xlabel: name of the setting on the horizontal axis.
        ylabel: name of the setting on the vertical axis.
        theme: "light" or "dark".

    Returns:
        The plot.

    Raises:
        ConfigError: for another shape.
    """
    cells = np.asarray(values, np.float64)
    require(
        cells.shape == (len(rows), len(columns)),
        f"heatmap_of_settings: expected [{len(rows)}, {len(columns)}], got {cells.shape}",
    )
    width = max(3.6, 0.9 * len(columns) + 1.6)
    height = max(2.6, 0.55 * len(rows) + 1.2)
    figure = new_figure(width, height, theme)
    axes = figure.subplots()
    image = axes.imshow(np.ma.masked_invalid(cells), cmap="viridis", aspect="auto")
    for (row, column), value in np.ndenumerate(cells):
        if np.isfinite(value):
            rgba = image.to_rgba(np.array([value]))[0]
            color = "black" if sum(rgba[:3]) > 1.5 else "white"
            text = f"{value:.4g}"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=9)
    column_texts = [label(text) for text in columns]
    row_texts = [label(text) for text in rows]
    axes.set_xticks(range(len(columns)), column_texts)
    axes.set_yticks(range(len(rows)), row_texts)
    dress(axes, theme, title=title, xlabel=xlabel, ylabel=ylabel, grid=False)
    return figure
