"""Checks of image arrays before anything is compiled.

Each failure names the split, what was expected, what came, and the one line that mends it.
"""

import numpy as np

from dgm_jax.core import ConfigError, DataError, require

RANGES = {"unit": (0.0, 1.0), "symmetric": (-1.0, 1.0)}
PIXELS = ("uint8", "unit", "symmetric")
MANY_CLASSES, CLASSES_PER_IMAGE = 1_000, 10
_MIXED = (
    "expected one array (N, H, W, C), not a collection of arrays of mixed sizes; "
    "fix: resize all images to one size and np.stack them"
)


def check_images(
    images,
    labels=None,
    *,
    split="train",
    pixels="uint8",
    num_classes=None,
    batch_size=None,
    allow_constant=False,
) -> None:
    """Raises `DataError` unless the arrays are images `[N, H, W, C]` as declared.

    pixels: what they must hold: "uint8" (0..255), or floats in "unit" [0, 1] or "symmetric" [-1,
        1].
    labels: integers `[N]` in 0..num_classes-1; without `num_classes` at least class 0 must occur.
    batch_size: when given, at least so many examples (`ConfigError` names both numbers).
    allow_constant: accept images in which all pixels are equal.
    """
    require(pixels in PIXELS, f"pixels is one of {PIXELS}, got {pixels!r}")
    images = as_array(images, split)
    check_layout(images, split)
    _check_values(images, split, pixels)
    if not allow_constant:
        _check_constant(images, split)
    if labels is not None:
        check_labels(labels, len(images), split=split, num_classes=num_classes)
    if batch_size is not None:
        check_batch_size(len(images), batch_size, split=split)


def check_layout(images: np.ndarray, split: str) -> None:
    """Rank `(N, H, W, C)`, not empty, channels last, 1 or 3 of them."""
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


def check_labels(labels, num_images: int, *, split: str, num_classes: int | None = None) -> None:
    """Integers of shape `[num_images]` that count from 0."""
    labels = np.asarray(labels)
    # The shape first: one-hot rows of floats need argmax, and no other dtype would mend them.
    _require(
        labels.ndim == 1,
        f"{split} labels: expected shape ({num_images},), got {labels.shape}{_flat_fix(labels)}",
    )
    if labels.dtype.kind not in "iu":
        raise DataError(
            f"{split} labels: expected integers, got dtype {labels.dtype}{_integer_fix(labels)}"
        )
    _require(len(labels) == num_images, f"{split}: {num_images} images but {len(labels)} labels")
    _require(num_images > 0, f"{split}: no images and no labels")
    low, high = int(labels.min()), int(labels.max())
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
        off = low >= 1 and high == num_classes
        fix = "off by one; fix: labels = labels - 1" if off else f"num_classes is {num_classes}"
        raise DataError(f"{split} labels: expected 0..{top}, got {low}..{high}; {fix}")


def _integer_fix(labels: np.ndarray) -> str:
    """How a row of other values becomes integers, if no value is lost by it."""
    if labels.dtype.kind in "SUO":
        return "; fix for names: labels = np.unique(labels, return_inverse=True)[1]"
    whole = labels.dtype.kind == "b" or (
        labels.dtype.kind == "f" and bool(np.all(np.isfinite(labels) & (labels == np.rint(labels))))
    )
    return "; fix: labels = labels.astype('int32')" if whole else ""


def _flat_fix(labels: np.ndarray) -> str:
    """How labels of another rank become a row of integers."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        return "; fix: labels = labels[:, 0]"
    return "; fix for one-hot rows: labels = labels.argmax(-1)" if labels.ndim == 2 else ""


def check_num_classes(num_classes: int, num_images: int, *, split: str = "train") -> None:
    """Raises `DataError` for more classes than the largest label of so few images can mean.

    Names of classes, layers and tables are made for each class, so one wrong label could ask for
    all the memory there is.
    """
    most = max(MANY_CLASSES, CLASSES_PER_IMAGE * num_images)
    _require(
        num_classes <= most,
        f"{split} labels: 0..{num_classes - 1} would be {num_classes} classes for {num_images}"
        f" images, expected at most {most}; fix: number the classes that occur:"
        " labels = np.unique(labels, return_inverse=True)[1], or state num_classes",
    )


def check_batch_size(num_examples: int, batch_size: int, *, split: str = "train") -> None:
    """Raises `ConfigError` unless 1 <= batch_size <= num_examples."""
    if (
        not isinstance(batch_size, (int, np.integer))
        or isinstance(batch_size, bool)
        or batch_size < 1
    ):
        raise ConfigError(f"batch_size must be a positive integer, got {batch_size!r}")
    require(
        batch_size <= num_examples,
        f"batch_size {batch_size} is larger than the {num_examples} examples of the {split} split; "
        f"choose at most {num_examples}",
    )


def as_array(images, split: str) -> np.ndarray:
    """The images as one array; `DataError` for a collection of mixed sizes."""
    try:
        return np.asarray(images)
    except ValueError as error:
        raise DataError(f"{split} images: {_MIXED}; numpy says: {error}") from error


def _check_values(images: np.ndarray, split: str, pixels: str) -> None:
    kind, dtype = images.dtype.kind, images.dtype
    wanted = (
        "uint8 0..255"
        if pixels == "uint8"
        else f"floats in [{RANGES[pixels][0]:g}, {RANGES[pixels][1]:g}]"
    )
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
    low, high, mean = float(images.min()), float(images.max()), float(images.mean(dtype=np.float64))
    got = f"{dtype} with min {low:g}, max {high:g}, mean {mean:.4g}"
    if pixels == "uint8":
        raise DataError(
            f"{name}: expected {wanted}, got {got}{_to_uint8_fix(kind, dtype, low, high)}"
        )
    fix = "" if dtype != np.uint8 else f"; fix: images = data.to_model_range(images, {pixels!r})"
    _require(kind == "f", f"{name}: expected {wanted}, got {got}{fix}")
    inside = RANGES[pixels][0] <= low and high <= RANGES[pixels][1]
    _require(inside, f"{name}: expected {wanted}, got {got}{_range_fix(pixels, low, high)}")


def _to_uint8_fix(kind: str, dtype: np.dtype, low: float, high: float) -> str:
    if kind == "b":
        return "; fix: images = images.astype('uint8') * 255"
    if low < 0:
        return (
            "; fix for [-1, 1]: images = ((images + 1) * 127.5).round().astype('uint8')"
            if low >= -1
            else ""
        )
    if kind == "f" and high <= 1:
        return "; fix for [0, 1]: images = (images * 255).round().astype('uint8')"
    if high <= 255:
        return (
            "; fix for 0..255: images = images.round().astype('uint8')"
            if kind == "f"
            else ("; fix: images = images.astype('uint8')")
        )
    # Cameras and scanners use a part of the 16 bits: the divisor is that of the bits in use.
    bits = next((b for b in (10, 12, 14, 16) if high < 2**b), None)
    return (
        f"; fix for {bits}-bit pixels: images = (images / {(2**bits - 1) / 255:.7g})"
        ".round().astype('uint8')"
        if bits
        else ""
    )


def _range_fix(pixels: str, low: float, high: float) -> str:
    if low >= 0 and 1 < high <= 255:
        return "; these look like 0..255; fix: images = images / 255" + (
            " * 2 - 1" if pixels == "symmetric" else ""
        )
    if pixels == "unit" and -1 <= low and high <= 1:
        return (
            "; these look like [-1, 1]; fix: images = (images + 1) / 2, or load with scaling='unit'"
        )
    return ""


def _check_constant(images: np.ndarray, split: str) -> None:
    flat = images.reshape(len(images), -1)
    same = (
        np.flatnonzero(flat.min(axis=1) == flat.max(axis=1))
        if flat.shape[1] > 1
        else np.array([], int)
    )
    if len(same):
        raise DataError(
            f"{split} images: {len(same)} of {len(images)} images are constant (all pixels equal),"
            f" first image {same[0]} with value {flat[same[0], 0]:g}; remove them, or load with"
            " allow_constant=True"
        )


def _require(condition: bool, message: str) -> None:
    require(condition, message, DataError)
