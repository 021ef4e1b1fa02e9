"""Line plots: curves over training with their spread over seeds, and lines in general."""

import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import scipy
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

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
_DASHES = ("--", (0, (1, 1.5)), "-.")  # of the levels of a metric


class Extras(NamedTuple):
    """What a curve over training is drawn with, by metric.

    Attributes:
        ranges: metric -> (lowest, highest) possible value, None for an open end; bands are clipped
            to it.
        levels: metric -> name -> height of a dashed horizontal line.
    """

    ranges: Mapping[str, Sequence[float | None]] = MappingProxyType({})
    levels: Mapping[str, Mapping[str, float]] = MappingProxyType({})


def training_curves(
    steps: ArrayLike,
    arms: Mapping[str, Mapping[str, ArrayLike]],
    *,
    extras: Extras | None = None,
    theme: str = "light",
) -> dict[str, Figure]:
    """Plot each metric over training: mean over seeds, 95 % band, and a thin line for each seed.

    The band is the Student interval of the mean over the seeds that have a value at that step. With
    fewer than four seeds there is none, since it would be much wider than the values; each value
    has a dot instead. The vertical axis covers means, seeds and levels, but not the bands.

    Args:
        steps: [T], training steps.
        arms: arm -> metric -> [T, S] (or [T] for one seed); NaN if a seed has no value, and a row
            of NaN if the arm was not logged at that step.
        extras: ranges and levels of metrics; None for none.
        theme: "light" or "dark".

    Returns:
        metric -> Figure, in the order in which metrics first appear.

    Raises:
        ConfigError: for shapes that do not fit.
    """
    x = np.asarray(steps, np.float64)
    require(x.ndim == 1, f"training_curves: expected steps of shape [T], found {x.shape}")
    extras = extras or Extras()
    order = list(arms)
    names = list(dict.fromkeys(metric for metrics in arms.values() for metric in metrics))
    figures = {}
    for name in names:
        values_of_arms = {arm: metrics[name] for arm, metrics in arms.items() if name in metrics}
        figures[name] = _one_metric(name, x, values_of_arms, order, extras, theme)
    return figures


def _one_metric(
    name: str,
    steps: np.ndarray,
    arms: Mapping[str, ArrayLike],
    order: Sequence[str],
    extras: Extras,
    theme: str,
) -> Figure:
    """The plot of one metric; an arm has the style of its place in `order`."""
    levels = extras.levels.get(name, {})
    arm_names = filter(None, arms)
    rows = rows_beneath([*arm_names, *levels])
    beneath = 0.22 * rows if rows > 1 else 0.0
    # Fixed margins: twice as fast as those of a layout engine.
    height = 2.8 + beneath
    figure = new_figure(4.7, height, theme, layout=None)
    top = 1 - 0.3 / height
    bottom = (0.55 + beneath) / height
    figure.subplots_adjust(left=0.14, right=0.97, top=top, bottom=bottom)
    axes = figure.subplots()
    limits = extras.ranges.get(name, (None, None))
    for arm, values in arms.items():
        style = line_style(order.index(arm), theme)
        _draw_seeds(axes, steps, values, arm, style, limits)
    color = THEMES[theme].text
    for index, (text, level) in enumerate(levels.items()):
        dashes = _DASHES[index % len(_DASHES)]
        axes.axhline(level, linewidth=1.2, linestyle=dashes, color=color, label=label(text))
    heights = list(levels.values())
    limit_by_lines(axes, [*arms.values(), heights])
    dress(axes, theme, title=name, xlabel="training step")
    if any(arms) or levels:
        legend(axes, theme, rows=rows)
    return figure


def limit_by_lines(axes: Axes, lines: Sequence[ArrayLike]) -> None:
    """Make the vertical axis cover given values, whatever else is drawn.

    Args:
        axes: the axes, changed in place.
        lines: values of any shapes; those that are not finite are left out. The margin on either
            side is 6 % of their range.
    """
    arrays = [np.asarray(line, np.float64) for line in lines]
    values = np.concatenate([np.ravel(array) for array in arrays])
    values = values[np.isfinite(values)]
    if not values.size:
        return
    low = float(values.min())
    high = float(values.max())
    half_range = high / 2 - low / 2  # the difference of the values themselves may overflow
    pad = 0.12 * half_range or 0.05 * abs(high) or 1.0
    bottom = low - pad
    top = high + pad
    if np.isfinite(bottom) and np.isfinite(top):
        axes.set_ylim(bottom, top)


def lines(
    x: ArrayLike,
    curves: Mapping[str, ArrayLike],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    log_x: bool = False,
    log_y: bool = False,
    levels: Mapping[str, float] | None = None,
    theme: str = "light",
) -> Figure:
    """Plot named curves over a common axis.

    Args:
        x: [T].
        curves: name -> [T], or [T, S] for S repetitions (drawn with mean and 95 % band).
        title: title of the plot.
        xlabel: label of the horizontal axis.
        ylabel: label of the vertical axis.
        log_x: whether the horizontal axis is logarithmic.
        log_y: whether the vertical axis is logarithmic.
        levels: name -> height of a horizontal line, such as a known true value.
        theme: "light" or "dark".

    Returns:
        The plot.

    Raises:
        ConfigError: for shapes that do not fit.
    """
    positions = np.asarray(x, np.float64)
    levels = levels or {}
    names = [*curves, *levels]
    # Beneath the plot if there are many names, which would hide lines.
    rows = rows_beneath(names) if len(names) > 4 else 1
    beneath = 0.2 * rows if rows > 1 else 0.0
    figure = new_figure(6.4, 3.8 + beneath, theme)
    axes = figure.subplots()
    for index, (name, y) in enumerate(curves.items()):
        style = line_style(index, theme)
        _draw_seeds(axes, positions, y, name, style)
    for index, (name, level) in enumerate(levels.items(), len(curves)):
        color = line_style(index, theme)["color"]
        axes.axhline(level, linewidth=1.2, label=label(name), color=color, linestyle=":")
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
    values: ArrayLike,
    name: str,
    style: dict[str, Any],
    limits: Sequence[float | None] = (None, None),
) -> None:
    """Mean, band (within the limits) and thin lines of [T, S].

    Rows without any value are left out, so that lines stay connected.
    """
    y = np.asarray(values, np.float64)
    if y.ndim == 1:
        y = y[:, None]
    require(
        y.ndim == 2 and y.shape[0] == x.size,
        f"curve {name!r}: expected shape [{x.size}] or [{x.size}, S], found {y.shape}",
    )
    y = np.where(np.isfinite(y), y, np.nan)
    has_values = np.isfinite(y).any(axis=1)
    x = x[has_values]
    y = y[has_values]
    mean, low, high = mean_and_band(y)
    num_seeds = y.shape[1]
    color = style["color"]
    if num_seeds > 1:
        alpha = min(0.45, max(0.08, 3.0 / num_seeds))
        thin = [np.stack([x, seed], axis=1) for seed in y.T]
        seeds = LineCollection(thin, colors=color, linewidths=0.6, alpha=alpha)
        axes.add_collection(seeds)
    if num_seeds >= BAND_SEEDS:
        lowest = -np.inf if limits[0] is None else limits[0]
        highest = np.inf if limits[1] is None else limits[1]
        low = np.clip(low, lowest, highest)
        high = np.clip(high, lowest, highest)
        axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
    elif num_seeds > 1:
        dots = {"s": 7, "color": color, "alpha": 0.6, "linewidths": 0}
        axes.scatter(np.repeat(x, num_seeds), y.ravel(), **dots)
    marker = "o" if x.size == 1 else None
    text = label(name) if name else None
    axes.plot(x, mean, linewidth=1.8, marker=marker, label=text, **style)


def mean_and_band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the mean over seeds and its 95 % Student interval.

    Args:
        values: [T, S]; entries that are not finite are left out.

    Returns:
        The mean [T], and the lower and upper end of the interval [T] (NaN for fewer than two
        values).
    """
    count = np.isfinite(values).sum(axis=1)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        # Rows with at most one value give NaN, as they should.
        warnings.simplefilter("ignore", RuntimeWarning)
        mean = np.nanmean(values, axis=1)
        spread = np.nanstd(values, axis=1, ddof=1)
        error = spread / np.sqrt(count)
        degrees = np.maximum(count - 1, 1)
        half = error * scipy.stats.t.ppf(0.975, degrees)
    half = np.where(count > 1, half, np.nan)
    return mean, mean - half, mean + half
