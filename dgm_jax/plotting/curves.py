"""Lines: curves over training with their spread over seeds, and lines in general."""

import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import scipy.stats
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from dgm_jax.core import require
from dgm_jax.plotting.style import (
    THEMES,
    dress,
    label,
    legend,
    line_style,
    new_figure,
    rows_beneath,
)

BAND_SEEDS = 4  # fewer seeds are drawn one by one, without a band


class Extras(NamedTuple):
    """What a curve over training is drawn with, by metric.

    ranges: (least, most) value of a metric, None for an open end; bands end there.
    levels: name -> constant value, a dashed line each.
    """

    ranges: Mapping[str, Sequence] = MappingProxyType({})
    levels: Mapping[str, Mapping[str, float]] = MappingProxyType({})


def training_curves(
    steps, arms: dict[str, dict], *, extras: Extras | None = None, theme: str = "light"
) -> dict[str, Figure]:
    """One figure per metric: for each arm the mean over seeds, its 95 % band, and every seed as a
    thin line.

    Below four seeds there is no band, since Student's interval is then wider than anything that was
    measured; the seeds themselves have dots. The y axis covers means, seeds and levels, not the
    bands.

    Args:
        steps: [T].
        arms: arm -> metric -> [T, S] (or [T] for one seed); NaN where a seed has no value, and a
            row of NaN where the arm was not logged at that step. The band is the Student interval
            of the mean over the seeds that are left at that step.
        extras: ranges and levels of metrics; by default none are known.
        theme: light or dark.

    Returns:
        metric -> Figure, in the order in which metrics first appear.
    """
    steps = np.asarray(steps, np.float64)
    require(steps.ndim == 1, f"training_curves: expected steps of shape [T], found {steps.shape}")
    names = list(dict.fromkeys(metric for metrics in arms.values() for metric in metrics))
    figures = {}
    for name in names:
        own = {arm: metrics[name] for arm, metrics in arms.items() if name in metrics}
        figures[name] = _one_metric(name, steps, own, list(arms), extras or Extras(), theme)
    return figures


def _one_metric(name, steps, arms: dict, order: list, extras: Extras, theme: str) -> Figure:
    levels = extras.levels.get(name, {})
    rows = rows_beneath([*filter(None, arms), *levels])
    beneath = 0.22 * rows if rows > 1 else 0.0
    # margins by hand: twice as fast as margins by search
    height = 2.8 + beneath
    figure = new_figure(4.7, height, theme, layout=None)
    figure.subplots_adjust(
        left=0.14, right=0.97, top=1 - 0.3 / height, bottom=(0.55 + beneath) / height
    )
    axes = figure.subplots()
    limits = extras.ranges.get(name, (None, None))
    for arm, values in arms.items():
        _draw_seeds(axes, steps, values, arm, line_style(order.index(arm), theme), limits)
    for index, (text, level) in enumerate(levels.items()):
        color = THEMES[theme].text
        dots = ("--", (0, (1, 1.5)), "-.")[index % 3]
        axes.axhline(level, linewidth=1.2, linestyle=dots, color=color, label=label(text))
    limit_by_lines(axes, [*arms.values(), list(levels.values())])
    dress(axes, theme, title=name, xlabel="training step")
    if any(arms) or levels:
        legend(axes, theme, rows=rows)
    return figure


def limit_by_lines(axes: Axes, lines: list) -> None:
    """A y axis that covers the finite values with a margin of 6 %, whatever the bands do."""
    values = np.concatenate([np.ravel(np.asarray(line, np.float64)) for line in lines])
    values = values[np.isfinite(values)]
    if values.size:
        low, high = float(values.min()), float(values.max())
        span = high / 2 - low / 2  # of half the values: the difference of two may overflow
        pad = 0.12 * span or 0.05 * abs(high) or 1.0
        if np.isfinite(high + pad) and np.isfinite(low - pad):
            axes.set_ylim(low - pad, high + pad)


def lines(
    x,
    curves: dict[str, object],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    log_x: bool = False,
    log_y: bool = False,
    levels: dict[str, float] | None = None,
    theme: str = "light",
) -> Figure:
    """Named curves over a common axis.

    x: [T]. curves: name -> [T], or [T, S] for S repetitions (drawn with mean and 95 % band).
    levels: name -> a horizontal line at that height, for a known truth.
    """
    x = np.asarray(x, np.float64)
    names = [*curves, *(levels or {})]
    rows = rows_beneath(names) if len(names) > 4 else 1  # beneath, where they would hide lines
    figure = new_figure(6.4, 3.8 + (0.2 * rows if rows > 1 else 0.0), theme)
    axes = figure.subplots()
    for index, (name, y) in enumerate(curves.items()):
        _draw_seeds(axes, x, y, name, line_style(index, theme))
    for index, (name, level) in enumerate((levels or {}).items()):
        style = line_style(len(curves) + index, theme)
        axes.axhline(level, linewidth=1.2, label=label(name), color=style["color"], linestyle=":")
    if log_x:
        axes.set_xscale("log")
    if log_y:
        axes.set_yscale("log")
    dress(axes, theme, title=title, xlabel=xlabel, ylabel=ylabel)
    legend(axes, theme, rows=rows)
    return figure


def _draw_seeds(
    axes: Axes,
    x: np.ndarray,
    values,
    name: str,
    style: dict,
    limits: Sequence = (None, None),
) -> None:
    """Mean, band (within the limits) and thin lines of [T, S]; rows without any value are left out,
    so that lines stay connected."""
    values = np.asarray(values, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    require(
        values.ndim == 2 and values.shape[0] == x.size,
        f"curve {name!r}: expected shape [{x.size}] or [{x.size}, S], found {values.shape}",
    )
    values = np.where(np.isfinite(values), values, np.nan)
    logged = np.isfinite(values).any(axis=1)
    x, values = x[logged], values[logged]
    mean, low, high = mean_and_band(values)
    if values.shape[1] > 1:
        alpha = min(0.45, max(0.08, 3.0 / values.shape[1]))
        thin = [np.stack([x, one], axis=1) for one in values.T]
        axes.add_collection(
            LineCollection(thin, colors=style["color"], linewidths=0.6, alpha=alpha)
        )
    if values.shape[1] >= BAND_SEEDS:
        least, most = (
            _or(limit, end) for limit, end in zip(limits, (-np.inf, np.inf), strict=True)
        )
        low, high = np.clip(low, least, most), np.clip(high, least, most)
        axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)
    elif values.shape[1] > 1:
        dots = {"s": 7, "color": style["color"], "alpha": 0.6, "linewidths": 0}
        axes.scatter(np.repeat(x, values.shape[1]), values.ravel(), **dots)
    marker = "o" if x.size == 1 else None
    axes.plot(x, mean, linewidth=1.8, marker=marker, label=label(name) if name else None, **style)


def _or(value, default: float) -> float:
    return default if value is None else float(value)


def mean_and_band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean [T] over the finite entries of [T, S], and the ends of its 95 % Student interval (NaN
    below two)."""
    count = np.isfinite(values).sum(axis=1)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        # rows with no or one figure give NaN, as they should
        warnings.simplefilter("ignore", RuntimeWarning)
        mean = np.nanmean(values, axis=1)
        error = np.nanstd(values, axis=1, ddof=1) / np.sqrt(count)
        half = error * scipy.stats.t.ppf(0.975, np.maximum(count - 1, 1))
    half = np.where(count > 1, half, np.nan)
    return mean, mean - half, mean + half
