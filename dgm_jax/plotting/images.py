"""Plots of images: grids, and strips over training."""

import math

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from dgm_jax.core import require
from dgm_jax.plotting.style import DOTS_PER_INCH, THEMES, label, new_figure

_NOT_FINITE = (255, 0, 255)  # so that a pixel that is not a number cannot be mistaken for black


def image_grid(
    images: ArrayLike,
    *,
    num_columns: int | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    title: str = "",
    theme: str = "light",
) -> Figure:
    """Arrange images in a grid, row by row, with every pixel enlarged by a whole number.

    Args:
        images: [n, H, W, C] or [n, H, W], C = 1 or 3; uint8, or floats in `value_range`, outside of
            which they are clipped; pixels that are not finite are drawn magenta.
        num_columns: by default that of the squarest grid.
        value_range: lowest and highest value of floats.
        title: title of the plot.
        theme: "light" or "dark".

    Returns:
        The plot.

    Raises:
        ConfigError: for another shape or dtype, or an empty range.
    """
    pixels = _to_uint8(images, value_range)
    columns = num_columns or math.ceil(math.sqrt(len(pixels)))
    require(columns >= 1, f"image_grid: expected num_columns >= 1, found {num_columns}")
    canvas = _tile(pixels, columns, THEMES[theme].background)
    headlines = [title] if title else []
    return _canvas_figure(canvas, pixels.shape[1], headlines, theme)


def image_strip_over_training(
    images: ArrayLike,
    steps: ArrayLike,
    *,
    value_range: tuple[float, float] = (0.0, 1.0),
    title: str = "",
    theme: str = "light",
) -> Figure:
    """Show how samples from fixed noise change: a row per noise vector, a column per step.

    Args:
        images: [T, n, H, W, C] or [T, n, H, W], as in `image_grid`.
        steps: [T], written above the columns.
        value_range: lowest and highest value of floats.
        title: title of the plot.
        theme: "light" or "dark".

    Returns:
        The plot.

    Raises:
        ConfigError: for another shape or dtype, or an empty range.
    """
    array = np.asarray(images)
    step_numbers = np.asarray(steps).tolist()
    num_steps = len(step_numbers)
    require(
        array.ndim in (4, 5) and len(array) == num_steps,
        f"image_strip_over_training: expected images [{num_steps}, n, H, W, C], found shape"
        f" {array.shape}",
    )
    by_noise = np.swapaxes(array, 0, 1)
    flat = by_noise.reshape(-1, *array.shape[2:])
    pixels = _to_uint8(flat, value_range)
    canvas = _tile(pixels, num_steps, THEMES[theme].background)
    figure = _canvas_figure(canvas, pixels.shape[1], [title, ""], theme)
    axes = figure.axes[0]
    width = pixels.shape[2]
    for column, step in enumerate(step_numbers):
        text = f"step {step}" if column == 0 else str(step)
        centre = column * (width + 1) + width / 2
        axes.text(
            centre,
            -1.5,
            text,
            ha="center",
            va="bottom",
            fontsize=8,
            color=THEMES[theme].text,
        )
    return figure


def _to_uint8(images: ArrayLike, value_range: tuple[float, float]) -> np.ndarray:
    """uint8[n, H, W, 3] of images of any accepted kind."""
    array = np.asarray(images)
    if array.ndim == 3:
        array = array[..., None]
    require(
        array.ndim == 4 and array.shape[-1] in (1, 3) and array.size > 0,
        f"images: expected shape [n, H, W, C] with C = 1 or 3, or [n, H, W], found {array.shape}",
    )
    if array.dtype == np.uint8:
        return _in_three_channels(array)
    require(
        np.issubdtype(array.dtype, np.floating)
        or array.dtype.kind in "Vb"
        or "float" in array.dtype.name,
        f"images: expected uint8 or floating point pixels, found {array.dtype}",
    )
    low, high = value_range
    require(high > low, f"value_range: expected low < high, found {value_range}")
    scaled = (array.astype(np.float64) - low) / (high - low)
    is_finite = np.isfinite(scaled).all(axis=-1)
    unit = np.clip(np.nan_to_num(scaled), 0.0, 1.0)
    pixels = np.rint(unit * 255).astype(np.uint8)
    pixels = np.array(_in_three_channels(pixels))
    pixels[~is_finite] = _NOT_FINITE
    return pixels


def _in_three_channels(pixels: np.ndarray) -> np.ndarray:
    """[n, H, W, 3] of [n, H, W, 1 or 3], without a copy."""
    return np.broadcast_to(pixels, (*pixels.shape[:3], 3))


def _tile(pixels: np.ndarray, num_columns: int, background: str) -> np.ndarray:
    """All images in one, row by row, with a line of one background pixel between them."""
    count, height, width, _ = pixels.shape
    num_rows = math.ceil(count / num_columns)
    all_height = num_rows * (height + 1) - 1
    all_width = num_columns * (width + 1) - 1
    canvas = np.empty((all_height, all_width, 3), np.uint8)
    channels = [background[i : i + 2] for i in (1, 3, 5)]
    canvas[:] = [int(channel, 16) for channel in channels]
    for index, image in enumerate(pixels):
        row, column = divmod(index, num_columns)
        top = row * (height + 1)
        left = column * (width + 1)
        canvas[top : top + height, left : left + width] = image
    return canvas


def _canvas_figure(
    canvas: np.ndarray, image_height: int, headlines: list[str], theme: str
) -> Figure:
    """A plot that shows each pixel of the canvas as a square of whole pixels.

    It is between 300 and 1,600 pixels wide if possible.
    """
    height, width, _ = canvas.shape
    largest_factor = math.floor(1600 / max(width, height))
    factor = max(1, min(largest_factor, math.ceil(64 / image_height)))
    image_pixels = height * factor
    all_pixels = image_pixels + 22 * len(headlines)
    inches_wide = width * factor / DOTS_PER_INCH
    inches_high = all_pixels / DOTS_PER_INCH
    figure = new_figure(inches_wide, inches_high, theme, layout=None)
    axes = figure.add_axes((0.0, 0.0, 1.0, image_pixels / all_pixels))
    axes.imshow(canvas, interpolation="nearest", extent=(0, width, height, 0))
    axes.set_axis_off()
    for index, text in enumerate(headlines):
        top = 1 - (22 * index + 4) / all_pixels
        figure.text(
            0.005,
            top,
            label(text),
            va="top",
            fontsize=9,
            color=THEMES[theme].text,
        )
    return figure
