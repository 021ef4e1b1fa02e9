"""Pictures made of pictures."""

import math

import numpy as np
from matplotlib.figure import Figure

from dgm_jax.core import require
from dgm_jax.plotting.style import DOTS_PER_INCH, THEMES, label, new_figure

_NOT_FINITE = (255, 0, 255)  # a pixel that is no number must not pass for black


def image_grid(
    images,
    *,
    num_columns: int | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    title: str = "",
    theme: str = "light",
) -> Figure:
    """Images side by side, row by row, every pixel enlarged by a whole number.

    images: [n, H, W, C] or [n, H, W], C = 1 or 3; uint8, or floats in `value_range` (outside it
        they are clipped;
    NaN and infinities are drawn magenta). `num_columns` defaults to the squarest grid.
    """
    pixels = _to_uint8(images, value_range)
    columns = num_columns or math.ceil(math.sqrt(len(pixels)))
    require(columns >= 1, f"image_grid: expected num_columns >= 1, found {num_columns}")
    canvas = _tile(pixels, columns, THEMES[theme].background)
    return _canvas_figure(canvas, pixels.shape[1], [title] if title else [], theme)


def image_strip_over_training(
    images,
    steps,
    *,
    value_range: tuple[float, float] = (0.0, 1.0),
    title: str = "",
    theme: str = "light",
) -> Figure:
    """How the same noise is drawn as training goes on: one row per noise vector, one column per
    step.

    images: [T, n, H, W, C] (or [T, n, H, W]); steps: [T], written above the columns.
    """
    images = np.asarray(images)
    steps = list(np.asarray(steps).tolist())
    require(
        images.ndim in (4, 5) and len(images) == len(steps),
        f"image_strip_over_training: expected images [{len(steps)}, n, H, W, C], found shape"
        f" {images.shape}",
    )
    flat = np.swapaxes(images, 0, 1).reshape(-1, *images.shape[2:])
    pixels = _to_uint8(flat, value_range)
    canvas = _tile(pixels, len(steps), THEMES[theme].background)
    figure = _canvas_figure(canvas, pixels.shape[1], [title, ""], theme)
    axes, width = figure.axes[0], pixels.shape[2]
    for column, step in enumerate(steps):
        text = f"step {step}" if column == 0 else str(step)
        axes.text(
            column * (width + 1) + width / 2,
            -1.5,
            text,
            ha="center",
            va="bottom",
            fontsize=8,
            color=THEMES[theme].text,
        )
    return figure


def _to_uint8(images, value_range):
    """uint8[n, H, W, 3]."""
    images = np.asarray(images)
    images = images[..., None] if images.ndim == 3 else images
    require(
        images.ndim == 4 and images.shape[-1] in (1, 3) and images.size > 0,
        f"images: expected shape [n, H, W, C] with C = 1 or 3, or [n, H, W], found {images.shape}",
    )
    if images.dtype == np.uint8:
        return np.broadcast_to(images, (*images.shape[:3], 3))
    require(
        np.issubdtype(images.dtype, np.floating)
        or images.dtype.kind in "Vb"
        or "float" in images.dtype.name,
        f"images: expected uint8 or floating point pixels, found {images.dtype}",
    )
    low, high = value_range
    require(high > low, f"value_range: expected low < high, found {value_range}")
    scaled = (images.astype(np.float64) - low) / (high - low)
    bad = ~np.isfinite(scaled).all(axis=-1)
    pixels = np.rint(np.clip(np.nan_to_num(scaled), 0.0, 1.0) * 255).astype(np.uint8)
    pixels = np.array(np.broadcast_to(pixels, (*pixels.shape[:3], 3)))
    pixels[bad] = _NOT_FINITE
    return pixels


def _tile(pixels, columns, background):
    """One picture of all, row by row, with a line of one background pixel between neighbours."""
    count, height, width, _ = pixels.shape
    rows = math.ceil(count / columns)
    colour = tuple(int(background[i : i + 2], 16) for i in (1, 3, 5))
    canvas = np.empty((rows * (height + 1) - 1, columns * (width + 1) - 1, 3), np.uint8)
    canvas[:] = colour
    for index, image in enumerate(pixels):
        top, left = index // columns * (height + 1), index % columns * (width + 1)
        canvas[top : top + height, left : left + width] = image
    return canvas


def _canvas_figure(canvas, image_height, headlines, theme):
    """A figure whose pixels are whole multiples of the canvas's pixels, between 300 and 1,600 wide
    where possible."""
    height, width, _ = canvas.shape
    factor = max(1, min(math.floor(1600 / max(width, height)), math.ceil(64 / image_height)))
    room = 22 * len(headlines)
    inches = (width * factor / DOTS_PER_INCH, (height * factor + room) / DOTS_PER_INCH)
    figure = new_figure(*inches, theme, layout=None)
    axes = figure.add_axes((0.0, 0.0, 1.0, height * factor / (height * factor + room)))
    axes.imshow(canvas, interpolation="nearest", extent=(0, width, height, 0))
    axes.set_axis_off()
    for index, text in enumerate(headlines):
        figure.text(
            0.005,
            1 - (22 * index + 4) / (height * factor + room),
            label(text),
            va="top",
            fontsize=9,
            color=THEMES[theme].text,
        )
    return figure
