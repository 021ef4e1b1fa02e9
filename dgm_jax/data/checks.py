"""Checks of image arrays before anything is compiled.

Each message names the split, what was expected, what was given, and a one-line fix.
"""

import numpy as np
from numpy.typing import ArrayLike

from dgm_jax.core import ConfigError, DataError, checks, require
from dgm_jax.data import fixes
from dgm_jax.data.mapped import blocks

RANGES = {"unit": (0.0, 1.0), "symmetric": (-1.0, 1.0)}
PIXELS = ("uint8", "unit", "symmetric")
MANY_CLASSES = 1_000
CLASSES_PER_IMAGE = 10
_MIXED = (
    "expected one array (N, H, W, C), not a collection of arrays of mixed sizes; "
    "fix: resize all images to one size and np.stack them"
)


def check_images(
    images: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    split: str = "train",
    pixels: str = "uint8",
    num_classes: int | None = None,
    batch_size: int | None = None,
    allow_constant: bool = False,
) -> None:
    """Check that arrays are images [N, H, W, C] as declared, and labels that fit them.

    Args:
        images: [N, H, W, C] with C = 1 or 3.
        labels: integers [N] in 0..num_classes-1; without num_classes at least class 0 must occur.
        split: name of the split, for messages.
        pixels: what images must hold: "uint8" (0..255), or floats in "unit" [0, 1] or "symmetric"
            [-1, 1].
        num_classes: number of classes, if known.
        batch_size: if given, at least this many examples are needed.
        allow_constant: accept images in which all pixels are equal.

    Raises:
        ConfigError: for an unknown `pixels`, or a batch_size larger than the number of examples.
        DataError: if the arrays are not as declared.
    """
    require(pixels in PIXELS, f"pixels is one of {PIXELS}, got {pixels!r}")
    array = as_array(images, split)
    check_layout(array, split)
    _check_values(array, split, pixels)
    if not allow_constant:
        _check_constant(array, split)
    if labels is not None:
        check_labels(labels, len(array), split=split, num_classes=num_classes)
    if batch_size is not None:
        check_batch_size(len(array), batch_size, split=split)


def check_layout(images: np.ndarray, split: str) -> None:
    """Check the layout of images: rank 4, not empty, with 1 or 3 channels in the last axis.

    Args:
        images: expected [N, H, W, C].
        split: name of the split, for messages.

    Raises:
        DataError: for another layout.
    """
    shape = images.shape
    _require(
        images.dtype != object,
        f"{split} images: an object array of shape {shape}; {_MIXED}",
    )
    fix = {
        3: "; fix for grey images: images = images[..., None]",
        2: "; fix: images = images.reshape(N, H, W, C)",
    }
    _require(
        images.ndim == 4,
        f"{split} images: expected rank 4 (N, H, W, C), got rank {images.ndim}"
        f" {shape}{fix.get(images.ndim, '')}",
    )
    _require(
        images.size > 0,
        f"{split} images: empty array of shape {shape}; expected at least one image",
    )
    channels = shape[-1]
    if channels in (1, 3):
        return
    if shape[1] in (1, 3):
        reason = "that looks like (N, C, H, W); fix: images = images.transpose(0, 2, 3, 1)"
    elif channels in (2, 4):
        reason = f"that looks like an alpha channel; fix: images = images[..., :{channels - 1}]"
    else:
        reason = "the last axis is the channel"
    raise DataError(f"{split} images: expected (N, H, W, C) with C = 1 or 3, got {shape}; {reason}")


def check_labels(
    labels: ArrayLike, num_images: int, *, split: str, num_classes: int | None = None
) -> None:
    """Check that labels are integers [num_images] that count from 0.

    Args:
        labels: one class for each image.
        num_images: number of images of the split.
        split: name of the split, for messages.
        num_classes: number of classes, if known.

    Raises:
        DataError: for another shape, dtype or range.
    """
    array = np.asarray(labels)
    # The shape first: one-hot rows of floats need argmax, and no other dtype would fix them.
    _require(
        array.ndim == 1,
        f"{split} labels: expected shape ({num_images},), got {array.shape}{fixes.flat_fix(array)}",
    )
    if array.dtype.kind not in "iu":
        raise DataError(
            f"{split} labels: expected integers, got dtype {array.dtype}{fixes.integer_fix(array)}"
        )
    _require(len(array) == num_images, f"{split}: {num_images} images but {len(array)} labels")
    _require(num_images > 0, f"{split}: no images and no labels")
    low = int(array.min())
    high = int(array.max())
    top = "K-1" if num_classes is None else num_classes - 1
    _require(
        low >= 0,
        f"{split} labels: expected 0..{top}, got {low}..{high}; fix where a negative label means"
        " none: images, labels = images[labels >= 0], labels[labels >= 0]",
    )
    if num_classes is None:
        _require(
            low == 0,
            f"{split} labels: {low}..{high}, no example of class 0; expected 0..K-1, which looks "
            "off by one; fix: labels = labels - labels.min(), or state num_classes",
        )
        check_num_classes(high + 1, num_images, split=split)
    elif high >= num_classes:
        off_by_one = low >= 1 and high == num_classes
        fix = f"num_classes is {num_classes}"
        if off_by_one:
            fix = "off by one; fix: labels = labels - 1"
        raise DataError(f"{split} labels: expected 0..{top}, got {low}..{high}; {fix}")


def check_num_classes(num_classes: int, num_images: int, *, split: str = "train") -> None:
    """Refuse more classes than the largest label of so few images can mean.

    Names, layers and tables are made for each class, so one wrong label could ask for all memory.

    Args:
        num_classes: the largest label plus 1.
        num_images: number of images of the split.
        split: name of the split, for messages.

    Raises:
        DataError: for more than max(1,000, 10 num_images) classes.
    """
    most = max(MANY_CLASSES, CLASSES_PER_IMAGE * num_images)
    _require(
        num_classes <= most,
        f"{split} labels: 0..{num_classes - 1} would be {num_classes} classes for {num_images}"
        f" images, expected at most {most}; fix: number the classes that occur:"
        " labels = np.unique(labels, return_inverse=True)[1], or state num_classes",
    )


def check_batch_size(num_examples: int, batch_size: int, *, split: str = "train") -> None:
    """Check that 1 <= batch_size <= num_examples.

    Args:
        num_examples: number of examples of the split.
        batch_size: number of examples of a batch.
        split: name of the split, for messages.

    Raises:
        ConfigError: if batch_size is no such integer.
    """
    if not checks.is_whole(batch_size) or batch_size < 1:
        raise ConfigError(f"batch_size must be a positive integer, got {batch_size!r}")
    require(
        batch_size <= num_examples,
        f"batch_size {batch_size} is larger than the {num_examples} examples of the {split} split; "
        f"choose at most {num_examples}",
    )


def as_array(images: ArrayLike, split: str) -> np.ndarray:
    """Convert images to one array.

    Args:
        images: an array, or a sequence of arrays of one size.
        split: name of the split, for messages.

    Returns:
        The images as one NumPy array.

    Raises:
        DataError: for a collection of mixed sizes.
    """
    try:
        return np.asarray(images)
    except ValueError as error:
        raise DataError(f"{split} images: {_MIXED}; numpy says: {error}") from error


def _check_values(images: np.ndarray, split: str, pixels: str) -> None:
    dtype = images.dtype
    kind = dtype.kind
    wanted = "uint8 0..255"
    if pixels != "uint8":
        least, most = RANGES[pixels]
        wanted = f"floats in [{least:g}, {most:g}]"
    name = f"{split} images"
    _require(kind in "fiub", f"{name}: expected {wanted}, got dtype {dtype}")
    if kind == "f":
        bad = ~np.isfinite(images)
        if bad.any():
            where = np.flatnonzero(bad.any(axis=(1, 2, 3)))
            raise DataError(
                f"{name}: {int(bad.sum())} pixels are NaN or infinite in {len(where)} of"
                f" {len(images)} images, first in image {where[0]}; expected {wanted}"
            )
    if dtype == np.uint8 and pixels == "uint8":
        return
    low = float(images.min())
    high = float(images.max())
    mean = float(images.mean(dtype=np.float64))
    got = f"{dtype} with min {low:g}, max {high:g}, mean {mean:.4g}"
    if pixels == "uint8":
        raise DataError(
            f"{name}: expected {wanted}, got {got}{fixes.to_uint8_fix(kind, low, high)}"
        )
    fix = "" if dtype != np.uint8 else f"; fix: images = data.to_model_range(images, {pixels!r})"
    _require(kind == "f", f"{name}: expected {wanted}, got {got}{fix}")
    inside = RANGES[pixels][0] <= low and high <= RANGES[pixels][1]
    _require(inside, f"{name}: expected {wanted}, got {got}{fixes.range_fix(pixels, low, high)}")


def _check_constant(images: np.ndarray, split: str) -> None:
    if images[0].size == 1:  # one pixel is always equal to itself
        return
    flat_blocks = (block.reshape(len(block), -1) for block in blocks(images))
    is_constant = np.concatenate([flat.min(axis=1) == flat.max(axis=1) for flat in flat_blocks])
    constant = np.flatnonzero(is_constant)
    if len(constant):
        first = constant[0]
        raise DataError(
            f"{split} images: {len(constant)} of {len(images)} images are constant (all pixels"
            f" equal), first image {first} with value {images[first].flat[0]:g}; remove them, or"
            " load with allow_constant=True"
        )


def _require(condition: bool, message: str) -> None:
    require(condition, message, DataError)
