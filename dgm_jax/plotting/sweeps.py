"""A value against the settings that were swept."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

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
    settings: Sequence,
    groups: Mapping[str, object],
    *,
    title: str = "",
    xlabel: str = "",
    log_x: bool = False,
    limits: Sequence = (None, None),
    levels: Mapping[str, float] | None = None,
    theme: str = "light",
) -> Figure:
    """A dot for each seed, the mean over seeds and its 95 % interval, at each value of a setting.

    Args:
        settings: [P] numbers in rising order, or names, which stand side by side.
        groups: name -> [P, S]; NaN where a seed has no value. Groups stand a little apart.
        title: of the chart.
        xlabel: the setting.
        log_x: a logarithmic axis; for positive numbers.
        limits: (least, most) of the values, None for an open end; intervals end there.
        levels: name -> a dashed line at that height.
        theme: light or dark.

    Returns:
        The figure; its y axis covers dots, means and levels.
    """
    numeric = all(isinstance(s, (int, float)) and not isinstance(s, bool) for s in settings)
    places = np.asarray(settings if numeric else range(len(settings)), np.float64)
    rows = rows_beneath([*filter(None, groups), *(levels or {})])
    beneath = 0.22 * rows if rows > 1 else 0.0
    figure = new_figure(4.7, 2.8 + beneath, theme, layout="constrained")
    axes = figure.subplots()
    for index, (name, values) in enumerate(groups.items()):
        values = np.asarray(values, np.float64)
        require(
            values.ndim == 2 and len(values) == len(places),
            f"{name!r}: expected shape [{len(places)}, S], got {values.shape}",
        )
        apart = (index - (len(groups) - 1) / 2) * 0.15 / max(1, len(groups) - 1)
        _draw_group(axes, _moved(places, apart, log_x), values, name, limits, index, theme)
    for name, level in (levels or {}).items():
        color = THEMES[theme].text
        axes.axhline(level, linewidth=1.2, linestyle="--", color=color, label=label(name))
    if log_x:
        axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(places, [label(s if not numeric else f"{s:g}") for s in settings])
    limit_by_lines(axes, [*groups.values(), list((levels or {}).values())])
    dress(axes, theme, title=title, xlabel=xlabel)
    if any(groups) or levels:
        legend(axes, theme, rows=rows)
    return figure


def _moved(places: np.ndarray, apart: float, log: bool) -> np.ndarray:
    """Places a share of their least distance to the side."""
    if apart == 0.0 or places.size == 0:
        return places
    scale = np.log(places) if log else places
    moved = scale + apart * (np.diff(scale).min() if places.size > 1 else 1.0)
    return np.exp(moved) if log else moved


def _draw_group(axes, x, values, name, limits, index, theme) -> None:
    color = line_style(index, theme)["color"]
    mean, low, high = mean_and_band(values)
    least, most = (np.nan if limit is None else float(limit) for limit in limits)
    known = np.isfinite(high - low)  # two seeds or more
    low = np.where(known, np.fmin(np.fmax(low, least), mean), mean)
    high = np.where(known, np.fmax(np.fmin(high, most), mean), mean)
    dots = {"s": 14, "color": color, "alpha": 0.45, "linewidths": 0}
    axes.scatter(np.repeat(x, values.shape[1]), values.ravel(), **dots)
    ends = np.nan_to_num(np.stack([mean - low, high - mean]))
    line = {"linewidth": 1.2, "marker": "o", "markersize": 6, "capsize": 4}
    axes.errorbar(x, mean, yerr=ends, color=color, label=label(name) if name else None, **line)


def heatmap_of_settings(
    values,
    columns: Sequence[str],
    rows: Sequence[str],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    theme: str = "light",
) -> Figure:
    """A value for each pair of two settings, as colours with the numbers on them.

    Args:
        values: [rows, columns]; cells that are not finite stay blank.
        columns: values of the setting across, as text.
        rows: values of the setting down, as text.
        title: of the chart.
        xlabel: the setting across.
        ylabel: the setting down.
        theme: light or dark.

    Returns:
        The figure.
    """
    values = np.asarray(values, np.float64)
    require(
        values.shape == (len(rows), len(columns)),
        f"heatmap_of_settings: expected [{len(rows)}, {len(columns)}], got {values.shape}",
    )
    size = max(3.6, 0.9 * len(columns) + 1.6), max(2.6, 0.55 * len(rows) + 1.2)
    figure = new_figure(*size, theme)
    axes = figure.subplots()
    picture = axes.imshow(np.ma.masked_invalid(values), cmap="viridis", aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            bright = sum(picture.to_rgba(np.array([value]))[0, :3]) > 1.5
            color = "black" if bright else "white"
            axes.text(j, i, f"{value:.4g}", ha="center", va="center", color=color, fontsize=9)
    axes.set_xticks(range(len(columns)), [label(text) for text in columns])
    axes.set_yticks(range(len(rows)), [label(text) for text in rows])
    dress(axes, theme, title=title, xlabel=xlabel, ylabel=ylabel, grid=False)
    return figure
