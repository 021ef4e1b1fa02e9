"""Large splits of tensorflow-datasets: read by random access, and decoded once into files."""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dgm_jax.core import DataError, require
from dgm_jax.data.mapped import Cache, fingerprint, rows_at_once


def require_one_size(images: list[np.ndarray], split: str) -> None:
    """Require that images have one size.

    Args:
        images: of a split.
        split: its name.

    Raises:
        DataError: they have several; the message names the option that resizes them.
    """
    shapes = {image.shape for image in images}
    require(
        len(shapes) == 1,
        f"tfds {split} images have mixed sizes, e.g. {sorted(shapes)[:3]}; give the option "
        "image_size (in a name: tfds:NAME?image_size=32)",
        DataError,
    )


def kept(
    cache: Cache, first: np.ndarray, records: Callable[[int], Iterator]
) -> tuple[np.ndarray, np.ndarray]:
    """Decode a large split once into files.

    Args:
        cache: where they are kept.
        first: the first image.
        records: `number at once -> (labels, images)` of some records at a time.

    Returns:
        Images uint8[N, H, W, C] and labels int64[N].

    Raises:
        DataError: images of different sizes, or files that cannot be written.
    """
    size = rows_at_once(first.shape)
    labels = []

    def decoded() -> Iterator[np.ndarray]:
        for of_block, images in records(size):
            require_one_size([first, *images], "split")
            labels.append(of_block)
            yield np.stack(images)

    images = cache.array("tfds_images", first.shape, np.uint8, decoded)
    read = lambda: labels or [of_block for of_block, _ in records(size)]
    return images, cache.array("tfds_labels", (), np.int64, read)


def files_of(builder: Any, split: str) -> str:
    """Name the files of a split, with size and time of the last change.

    Args:
        builder: of a prepared set.
        split: which may be a slice.

    Returns:
        A line for each file.
    """
    names = {str(part.filename) for part in builder.info.splits[split].file_instructions}
    return fingerprint(*(pathlib.Path(name) for name in sorted(names)))
