"""Heat maps of functions of the plane."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike

from dgm_jax.core import require
from dgm_jax.plotting.style import THEMES, dress, label, new_figure


def heatmap_on_grid(
    values: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    titles: Sequence[str] | None = None,
    color_label: str = "",
    xlabel: str = "",
    ylabel: str = "",
    signed: bool = False,
    points: ArrayLike | None = None,
    theme: str = "light",
) -> Figure:
    """Plot values on a uniform grid as colors, with one color scale for all panels.

    Args:
        values: [H, W], or [P, H, W] for P panels; `values[..., i, j]` belongs to the point (x[j],
            y[i]). Entries that are not finite stay blank.
        x: [W], uniform.
        y: [H], uniform.
        titles: of the panels.
        color_label: label of the color scale.
        xlabel: label of the horizontal axis.
        ylabel: label of the vertical axis.
        signed: whether the scale is a diverging one with zero in its middle (for a logit, a
            difference).
        points: [N, 2], drawn on top.
        theme: "light" or "dark".

    Returns:
        The plot.

    Raises:
        ConfigError: for shapes that do not fit.
    """
    columns = np.asarray(x, np.float64)
    rows = np.asarray(y, np.float64)
    fields = _checked(values, rows.size, columns.size)
    low, high = _color_range(fields, signed)
    draw = functools.partial(
        _draw_field,
        extent=(*_ends(columns), *_ends(rows)),
        vmin=low,
        vmax=high,
        cmap="RdBu_r" if signed else "viridis",
    )
    num_columns = min(len(fields), 4)
    num_rows = math.ceil(len(fields) / num_columns)
    figure = new_figure(3.1 * num_columns + 0.9, 3.0 * num_rows, theme)
    panels = figure.subplots(num_rows, num_columns, squeeze=False)
    for axes in panels.flat[len(fields) :]:
        axes.set_visible(False)
    for index, field in enumerate(fields):
        axes = panels.flat[index]
        image = draw(axes, field)
        if points is not None:
            _draw_points(axes, np.asarray(points, np.float64))
        title = titles[index] if titles else ""
        dress(axes, theme, title=title, xlabel=xlabel, ylabel=ylabel, grid=False)
    _add_color_bar(figure, image, panels, color_label, theme)
    return figure


def _checked(values: ArrayLike, num_rows: int, num_columns: int) -> np.ndarray:
    """values as [P, H, W]."""
    fields = np.asarray(values, np.float64)
    fields = fields[None] if fields.ndim == 2 else fields
    require(
        fields.ndim == 3 and fields.shape[1:] == (num_rows, num_columns),
        f"heatmap_on_grid: expected values [{num_rows}, {num_columns}] (y by x), found"
        f" {fields.shape}",
    )
    return fields


def _add_color_bar(
    figure: Figure, image: AxesImage, panels: np.ndarray, text: str, theme: str
) -> None:
    bar = figure.colorbar(image, ax=panels.ravel().tolist(), shrink=0.9)
    bar.set_label(label(text), color=THEMES[theme].text, fontsize=9)
    bar.ax.tick_params(colors=THEMES[theme].text, labelsize=8)
    bar.outline.set_edgecolor(THEMES[theme].grid)  # pyright: ignore[reportCallIssue]


def _color_range(fields: np.ndarray, signed: bool) -> tuple[float, float]:
    """Lower and upper end of the color scale."""
    finite = fields[np.isfinite(fields)]
    if not finite.size:
        low = 0.0
        high = 1.0
    else:
        low = float(finite.min())
        high = float(finite.max())
    if not signed:
        return low, high
    largest = max(abs(low), abs(high)) or 1.0
    return -largest, largest


def _draw_field(axes: Axes, field: np.ndarray, **options: Any) -> AxesImage:
    return axes.imshow(
        np.ma.masked_invalid(field),
        origin="lower",
        interpolation="nearest",
        aspect="auto",
        **options,
    )


def _draw_points(axes: Axes, points: np.ndarray) -> None:
    axes.scatter(
        points[:, 0],
        points[:, 1],
        s=8,
        color="white",
        edgecolors="black",
        linewidths=0.5,
    )


def _ends(axis: np.ndarray) -> tuple[float, float]:
    """The outer edges of the cells whose midpoints an axis holds."""
    half_step = (axis[-1] - axis[0]) / (axis.size - 1) / 2 if axis.size > 1 else 0.5
    return axis[0] - half_step, axis[-1] + half_step
