"""One-line fixes for arrays that are not the images or labels expected, for messages."""

import numpy as np


def integer_fix(labels: np.ndarray) -> str:
    """Suggest how to convert labels to integers, if that loses none of them.

    Args:
        labels: values of another dtype.

    Returns:
        The end of a message, or "".
    """
    kind = labels.dtype.kind
    if kind in "SUO":
        return "; fix for names: labels = np.unique(labels, return_inverse=True)[1]"
    if kind == "f":
        whole = bool(np.all(np.isfinite(labels) & (labels == np.rint(labels))))
    else:
        whole = kind == "b"
    return "; fix: labels = labels.astype('int32')" if whole else ""


def flat_fix(labels: np.ndarray) -> str:
    """Suggest how to convert labels of another rank to a vector of integers.

    Args:
        labels: labels that are no vector.

    Returns:
        The end of a message, or "".
    """
    if labels.ndim != 2:
        return ""
    if labels.shape[1] == 1:
        return "; fix: labels = labels[:, 0]"
    return "; fix for one-hot rows: labels = labels.argmax(-1)"


def to_uint8_fix(kind: str, low: float, high: float) -> str:
    """Suggest how to convert pixels to uint8, if that can be guessed.

    Args:
        kind: kind of the dtype, as NumPy's `dtype.kind`.
        low: smallest value.
        high: largest value.

    Returns:
        The end of a message, or "".
    """
    if kind == "b":
        return "; fix: images = images.astype('uint8') * 255"
    if low < -1:
        return ""
    if low < 0:
        return "; fix for [-1, 1]: images = ((images + 1) * 127.5).round().astype('uint8')"
    if kind == "f" and high <= 1:
        return "; fix for [0, 1]: images = (images * 255).round().astype('uint8')"
    if high <= 255 and kind == "f":
        return "; fix for 0..255: images = images.round().astype('uint8')"
    if high <= 255:
        return "; fix: images = images.astype('uint8')"
    # Cameras and scanners use a part of the 16 bits; the divisor is that of the bits in use.
    for bits in (10, 12, 14, 16):
        if high < 2**bits:
            return (
                f"; fix for {bits}-bit pixels: images = (images / {(2**bits - 1) / 255:.7g})"
                ".round().astype('uint8')"
            )
    return ""


def range_fix(pixels: str, low: float, high: float) -> str:
    """Suggest how to bring floats into a range, if that can be guessed.

    Args:
        pixels: "unit" or "symmetric".
        low: smallest value.
        high: largest value.

    Returns:
        The end of a message, or "".
    """
    if low >= 0 and 1 < high <= 255:
        fix = "; these look like 0..255; fix: images = images / 255"
        return f"{fix} * 2 - 1" if pixels == "symmetric" else fix
    if pixels == "unit" and -1 <= low and high <= 1:
        return (
            "; these look like [-1, 1]; fix: images = (images + 1) / 2, or load with scaling='unit'"
        )
    return ""
