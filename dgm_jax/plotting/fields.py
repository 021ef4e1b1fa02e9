"""Functions of the plane."""

import math

import numpy as np
from matplotlib.figure import Figure

from dgm_jax.core import require
from dgm_jax.plotting.style import THEMES, dress, label, new_figure


def heatmap_on_grid(
    values,
    x,
    y,
    *,
    titles: list[str] | None = None,
    colour_label: str = "",
    xlabel: str = "",
    ylabel: str = "",
    signed: bool = False,
    points=None,
    theme: str = "light",
) -> Figure:
    """Colours over a uniform grid, with one colour scale for all panels.

    values: [H, W] or [P, H, W] for P panels; `values[..., i, j]` belongs to the point (x[j], y[i]);
        entries that are
    not finite stay blank. x: [W], y: [H], uniform. signed: a diverging scale with zero in its
    middle (a logit, a difference). points: [N, 2] drawn on top.
    """
    values, x, y = (np.asarray(a, np.float64) for a in (values, x, y))
    values = values[None] if values.ndim == 2 else values
    require(
        values.ndim == 3 and values.shape[1:] == (y.size, x.size),
        f"heatmap_on_grid: expected values [{y.size}, {x.size}] (y by x), found {values.shape}",
    )
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if signed:
        high = max(abs(low), abs(high)) or 1.0
        low = -high
    columns = min(len(values), 4)
    rows = math.ceil(len(values) / columns)
    figure = new_figure(3.1 * columns + 0.9, 3.0 * rows, theme)
    panels = figure.subplots(rows, columns, squeeze=False)
    half_x, half_y = _half_step(x), _half_step(y)
    extent = (x[0] - half_x, x[-1] + half_x, y[0] - half_y, y[-1] + half_y)
    for index, axes in enumerate(panels.flat):
        if index >= len(values):
            axes.set_visible(False)
            continue
        picture = axes.imshow(
            np.ma.masked_invalid(values[index]),
            origin="lower",
            extent=extent,
            vmin=low,
            vmax=high,
            cmap="RdBu_r" if signed else "viridis",
            interpolation="nearest",
            aspect="auto",
        )
        if points is not None:
            spots = np.asarray(points, np.float64)
            axes.scatter(
                spots[:, 0], spots[:, 1], s=8, color="white", edgecolors="black", linewidths=0.5
            )
        dress(
            axes,
            theme,
            title=titles[index] if titles else "",
            xlabel=xlabel,
            ylabel=ylabel,
            grid=False,
        )
    bar = figure.colorbar(picture, ax=panels.ravel().tolist(), shrink=0.9)
    bar.set_label(label(colour_label), color=THEMES[theme].text, fontsize=9)
    bar.ax.tick_params(colors=THEMES[theme].text, labelsize=8)
    bar.outline.set_edgecolor(THEMES[theme].grid)
    return figure


def _half_step(axis):
    return (axis[-1] - axis[0]) / (axis.size - 1) / 2 if axis.size > 1 else 0.5
