"""Line plots: curves over training with their spread over seeds, and lines in general."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.stats
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from dgm_jax.core import require
from dgm_jax.plotting.style import dress, label, legend, line_style, new_figure


def training_curves(
    steps: ArrayLike,
    arms: Mapping[str, Mapping[str, ArrayLike]],
    *,
    theme: str = "light",
) -> dict[str, Figure]:
    """Plot each metric over training: mean over seeds, 95 % band, and a thin line for each seed.

    The band is the Student interval of the mean over the seeds that have a value at that step.

    Args:
        steps: [T], training steps.
        arms: arm -> metric -> [T, S] (or [T] for one seed); NaN if a seed has no value, and a row
            of NaN if the arm was not logged at that step.
        theme: "light" or "dark".

    Returns:
        metric -> Figure, in the order in which metrics first appear.

    Raises:
        ConfigError: for shapes that do not fit.
    """
    x = np.asarray(steps, np.float64)
    require(x.ndim == 1, f"training_curves: expected steps of shape [T], found {x.shape}")
    names = list(dict.fromkeys(metric for metrics in arms.values() for metric in metrics))
    figures = {}
    for name in names:
        # Fixed margins: twice as fast as those of a layout engine.
        figure = new_figure(6.4, 3.4, theme, layout=None)
        figure.subplots_adjust(left=0.1, right=0.98, top=0.91, bottom=0.15)
        axes = figure.subplots()
        for index, (arm, metrics) in enumerate(arms.items()):
            if name in metrics:
                _draw_seeds(axes, x, metrics[name], arm, line_style(index, theme))
        dress(axes, theme, title=name, xlabel="training step")
        if any(arms):
            legend(axes, theme)
        figures[name] = figure
    return figures


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
    figure = new_figure(6.4, 3.8, theme)
    axes = figure.subplots()
    for index, (name, y) in enumerate(curves.items()):
        _draw_seeds(axes, positions, y, name, line_style(index, theme))
    for index, (name, level) in enumerate((levels or {}).items()):
        style = line_style(len(curves) + index, theme)
        axes.axhline(level, linewidth=1.2, label=label(name), color=style["color"], linestyle=":")
    if log_x:
        axes.set_xscale("log")
    if log_y:
        axes.set_yscale("log")
    dress(axes, theme, title=title, xlabel=xlabel, ylabel=ylabel)
    legend(axes, theme)
    return figure


def _draw_seeds(
    axes: Axes, x: np.ndarray, values: ArrayLike, name: str, style: dict[str, Any]
) -> None:
    """Mean, band and thin lines of [T, S].

    Rows without any value are left out, so that lines stay connected.
    """
    y = np.asarray(values, np.float64)
    y = y[:, None] if y.ndim == 1 else y
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
    if num_seeds > 1:
        alpha = min(0.45, max(0.08, 3.0 / num_seeds))
        thin = [np.stack([x, seed], axis=1) for seed in y.T]
        axes.add_collection(
            LineCollection(thin, colors=style["color"], linewidths=0.6, alpha=alpha)
        )
        axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)
    marker = "o" if x.size == 1 else None
    axes.plot(x, mean, linewidth=1.8, marker=marker, label=label(name) if name else None, **style)


def mean_and_band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the mean over seeds and its 95 % Student interval.

    Args:
        values: [T, S]; entries that are not finite are left out.

    Returns:
        The mean [T], and the lower and upper end of the interval [T] (NaN for fewer than two
        values).
    """
    count = np.isfinite(values).sum(axis=1)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        # Rows with at most one value give NaN, as they should.
        warnings.simplefilter("ignore", RuntimeWarning)
        mean = np.nanmean(values, axis=1)
        error = np.nanstd(values, axis=1, ddof=1) / np.sqrt(count)
        half = error * scipy.stats.t.ppf(0.975, np.maximum(count - 1, 1))
    half = np.where(count > 1, half, np.nan)
    return mean, mean - half, mean + half
