"""Decodes one image file to uint8 `[H, W, 1 or 3]`; each change to it is reported or refused.

Pillow decodes the file, and only formats that it decodes within this process.
"""

import os
import pathlib
import warnings
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.core import DataError, DgmError, require
from dgm_jax.data.idx import MAX_EXPANSION, SMALL_BYTES
from dgm_jax.data.packages import optional
from dgm_jax.data.paths import regular_file

# For some other formats (EPS) pillow starts a program.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MAX_PIXELS = 2**26
BYTES_PER_PIXEL = 4  # what pillow holds of a pixel in colour
MODES = {"1": 1, "L": 1, "P": 3, "RGB": 3, "YCbCr": 3, "CMYK": 3, "RGBA": 3, "LA": 1}
ORIENTATION = 0x0112  # EXIF tag
BITS_PER_SAMPLE = 258  # TIFF tag
SAMPLE_FORMAT = 339  # TIFF tag
UNSIGNED = 1  # value of SAMPLE_FORMAT
# What may be done to a file, and the note that counts such files.
REMARKS = {
    "turned": "turned upright by their EXIF orientation: {} images",
    "frame": "first frame only of {} files that hold several",
    "cmyk": "CMYK turned into RGB without a colour profile: {} images",
    "profile": "colour profile not applied: {} images",
    "stretched": "not square before it, so stretched: {} images",
}


class Picture(NamedTuple):
    """One decoded image.

    Attributes:
        values: uint8 `[H, W, 1 or 3]`.
        remarks: keys of `REMARKS`, what was done to the image.
        pixels: number of pixels before any resize.
    """

    values: np.ndarray
    remarks: tuple[str, ...]
    pixels: int


def decode(path: pathlib.Path, root: pathlib.Path, image_size: int | None = None) -> Picture:
    """Decode the image of one file.

    Args:
        path: the file; a link may lead to a file within `root`.
        root: the folder, resolved, that no link may leave.
        image_size: resizes to this square (antialiased).

    Returns:
        The image.

    Raises:
        DataError: names the file that is not a regular file, lies outside of the folder, cannot be
            read, has more than 2^26 pixels or far more than its bytes can hold, pixels of more than
            8 bits, or transparent ones.
    """
    image_module = optional("PIL.Image", "pillow")
    num_bytes = _within(path, root)
    try:
        # Pillow warns of damaged metadata and of large images; both are judged here.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with image_module.open(path, formats=FORMATS) as image:
                return _decoded(image, path, num_bytes, image_size)
    except DgmError:
        raise
    except Exception as error:  # pillow's decoders raise whatever their format's parser raised
        raise DataError(
            f"{path}: not a readable image ({type(error).__name__}: {error})"
        ) from error


def _within(path: pathlib.Path, root: pathlib.Path) -> int:
    """Size in bytes of the regular file within `root` that `path` leads to."""
    status = regular_file(path)
    try:
        inside = pathlib.Path(os.path.realpath(path)).is_relative_to(root)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be followed: {error}") from error
    require(inside, f"{path}: a link that leads out of the folder", DataError)
    return status.st_size


def _decoded(image: Any, path: pathlib.Path, num_bytes: int, image_size: int | None) -> Picture:
    """The pixels of an image that pillow has opened."""
    transpose = optional("PIL.ImageOps", "pillow").exif_transpose
    resampling = optional("PIL.Image", "pillow").Resampling.LANCZOS
    pixels = _check_size(image, path, num_bytes)
    _check_depth(image, path)
    has_frames = getattr(image, "is_animated", False)
    if has_frames:
        image.seek(0)
    is_turned = image.getexif().get(ORIENTATION) in range(2, 9)
    image.load()
    remarks = {
        "turned": is_turned,
        "frame": has_frames,
        "cmyk": image.mode == "CMYK",
        "profile": _has_other_profile(image),
        "stretched": bool(image_size) and image.width != image.height,
    }
    if is_turned:
        transpose(image, in_place=True)  # does nothing to a TIFF, which pillow turns on opening
    _check_opaque(image, path)
    plain = image.convert("L" if MODES[image.mode] == 1 else "RGB")
    image.close()  # so that the pixels are in memory once
    if image_size:
        plain = plain.resize((image_size, image_size), resampling)
    values = np.asarray(plain, np.uint8)
    if values.ndim == 2:
        values = values[..., None]
    return Picture(values, tuple(key for key, applies in remarks.items() if applies), pixels)


def _check_size(image: Any, path: pathlib.Path, num_bytes: int) -> int:
    """The number of pixels, after a check that it is plausible for the file's size."""
    width, height = image.size
    pixels = width * height
    require(
        0 < pixels <= MAX_PIXELS,
        f"{path}: {width} x {height} pixels, expected 1 to {MAX_PIXELS}; scale it down first",
        DataError,
    )
    most = max(SMALL_BYTES, MAX_EXPANSION * num_bytes)
    require(
        BYTES_PER_PIXEL * pixels <= most,
        f"{path}: {width} x {height} pixels in {num_bytes} bytes, expected at most"
        f" {most // BYTES_PER_PIXEL} in so few; scale it down first",
        DataError,
    )
    return pixels


def _check_depth(image: Any, path: pathlib.Path) -> None:
    """Refuse pixels of more than 8 bits, of which pillow would silently keep the upper 8."""
    bits = _bits(image)
    require(
        bits <= 8,
        f"{path}: {bits}-bit pixels, expected 8-bit; scale them yourself, by the range that they"
        " use, since it need not be all 16 bits: values / largest * 255 as uint8",
        DataError,
    )
    require(
        image.mode in MODES,
        f"{path}: pixel mode {image.mode!r} is not 8-bit grey or colour; save it as 8-bit grey or"
        " RGB",
        DataError,
    )
    if image.format == "TIFF":
        formats = _numbers(image.tag_v2.get(SAMPLE_FORMAT, UNSIGNED))
        require(
            set(formats) <= {UNSIGNED},
            f"{path}: samples that are not unsigned integers (SampleFormat {formats})",
            DataError,
        )


def _bits(image: Any) -> int:
    """Bits per sample in the file; 8 if the format has no more."""
    if image.format == "TIFF":
        return max(_numbers(image.tag_v2.get(BITS_PER_SAMPLE, 1)), default=1)
    if image.mode.startswith("I"):
        return 16 if image.format in ("PNG", "PPM") else 32
    if image.format not in ("PNG", "PPM") or not image.tile:
        return 8
    arguments = image.tile[0][3]
    layout, *rest = _numbers(arguments)
    largest = rest[0] if rest and image.format == "PPM" else 255
    return 16 if "16" in str(layout) or largest > 255 else 8


def _numbers(value: Any) -> tuple[Any, ...]:
    """A tag's values, of which there may be one or several."""
    return value if isinstance(value, tuple) else (value,)


def _has_other_profile(image: Any) -> bool:
    """Whether the image has a color profile other than sRGB."""
    profile = image.info.get("icc_profile") or b""
    return bool(profile) and b"sRGB" not in bytes(profile).replace(b"\0", b"")


def _check_opaque(image: Any, path: pathlib.Path) -> None:
    """Refuse transparent pixels."""
    if not image.has_transparency_data:
        return
    alpha = image if image.mode in ("RGBA", "LA") else image.convert("RGBA")
    require(
        alpha.getchannel("A").getextrema() == (255, 255),
        f"{path}: has transparent pixels; flatten it onto a background first",
        DataError,
    )
