"""Lines: curves over training with their spread over seeds, and lines in general."""

import warnings

import numpy as np
import scipy.stats
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from dgm_jax.core import require
from dgm_jax.plotting.style import dress, label, legend, line_style, new_figure


def training_curves(steps, arms: dict[str, dict], *, theme: str = "light") -> dict[str, Figure]:
    """One figure per metric: for each arm the mean over seeds, its 95 % band, and every seed as a
    thin line.

    steps: [T]. arms: arm -> metric -> [T, S] (or [T] for one seed); NaN where a seed has no figure,
        and a row of NaN
    where the arm was not logged at that step. The band is the Student interval of the mean over the
    seeds that are left at that step. Returns metric -> Figure, in the order in which metrics first
    appear.
    """
    steps = np.asarray(steps, np.float64)
    require(steps.ndim == 1, f"training_curves: expected steps of shape [T], found {steps.shape}")
    names = list(dict.fromkeys(metric for metrics in arms.values() for metric in metrics))
    figures = {}
    for name in names:
        # margins by hand: twice as fast as margins by search
        figure = new_figure(6.4, 3.4, theme, layout=None)
        figure.subplots_adjust(left=0.1, right=0.98, top=0.91, bottom=0.15)
        axes = figure.subplots()
        for index, (arm, metrics) in enumerate(arms.items()):
            if name in metrics:
                _draw_seeds(axes, steps, metrics[name], arm, line_style(index, theme))
        dress(axes, theme, title=name, xlabel="training step")
        if any(arms):
            legend(axes, theme)
        figures[name] = figure
    return figures


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
    figure = new_figure(6.4, 3.8, theme)
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
    legend(axes, theme)
    return figure


def _draw_seeds(axes: Axes, x: np.ndarray, values, name: str, style: dict) -> None:
    """Mean, band and thin lines of [T, S]; rows without any figure are left out, so that lines stay
    connected."""
    values = np.asarray(values, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    require(
        values.ndim == 2 and values.shape[0] == x.size,
        f"curve {name!r}: expected shape [{x.size}] or [{x.size}, S], found {values.shape}",
    )
    values = np.where(np.isfinite(values), values, np.nan)
    there = np.isfinite(values).any(axis=1)
    x, values = x[there], values[there]
    mean, low, high = mean_and_band(values)
    if values.shape[1] > 1:
        alpha = min(0.45, max(0.08, 3.0 / values.shape[1]))
        thin = [np.stack([x, one], axis=1) for one in values.T]
        axes.add_collection(
            LineCollection(thin, colors=style["color"], linewidths=0.6, alpha=alpha)
        )
        axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)
    marker = "o" if x.size == 1 else None
    axes.plot(x, mean, linewidth=1.8, marker=marker, label=label(name) if name else None, **style)


def mean_and_band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean [T] over the finite entries of [T, S], and the ends of its 95 % Student interval (NaN
    below two)."""
    count = np.isfinite(values).sum(axis=1)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        # rows with no or one figure give NaN, as they should
        warnings.simplefilter("ignore", RuntimeWarning)
        mean = np.nanmean(values, axis=1)
        error = np.nanstd(values, axis=1, ddof=1) / np.sqrt(count)
        half = error * scipy.stats.t.ppf(0.975, np.maximum(count - 1, 1))
    half = np.where(count > 1, half, np.nan)
    return mean, mean - half, mean + half
