"""From decoded arrays to a checked `Dataset`: test split, subset of each split, description."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dgm_jax.core import ConfigError, DataError, require, tree_sha256
from dgm_jax.data.checks import check_images
from dgm_jax.data.dataset import Dataset, DatasetInfo
from dgm_jax.data.images import Decoded
from dgm_jax.data.mapped import Cache, blocks, cache_of, is_large, release, rows_at_once
from dgm_jax.data.paths import SHOWN_NAMES
from dgm_jax.data.pixels import binarized_blocks, static_binarize

IMAGE_OPTIONS = {"num_train": int, "num_test": int, "num_classes": int, "allow_constant": bool}
MAX_CLASSES = 2**20  # more than any labeled set has; a name is made for each of them
SHARE = 5  # one of this many images of a class is held out if a set has no test split


class Treatment(NamedTuple):
    """How the pixels of a set are treated; the arguments of `load` of these names."""

    scaling: str
    binarization: str
    dequantization: str
    seed: int


def finish(
    name: str,
    decoded: Decoded,
    treatment: Treatment,
    *,
    num_train: int | None = None,
    num_test: int | None = None,
    num_classes: int | None = None,
    allow_constant: bool = False,
) -> Dataset:
    """Check a source's arrays and make the data set of them.

    Args:
        name: name of the data set.
        decoded: what the source's reader returned.
        treatment: how pixels are treated.
        num_train: keep this many training examples, evenly spaced.
        num_test: keep this many test examples, evenly spaced.
        num_classes: number of classes; by default that of the names, or the largest label plus 1.
        allow_constant: accept images in which all pixels are equal.

    Returns:
        The data set.

    Raises:
        ConfigError: for options out of range.
        DataError: for arrays that are not images with fitting labels.
    """
    num_classes = _stated_classes(num_classes, decoded)
    cache = cache_of(decoded.arrays)
    arrays, held_out = _with_test(decoded.arrays, num_classes, allow_constant, cache)
    parts = {}
    notes = [*decoded.notes, *held_out]
    for split, limit in (("train", num_train), ("test", num_test)):
        images = arrays[f"{split}_images"]
        labels = arrays[f"{split}_labels"]
        check_images(
            images,
            labels,
            split=split,
            num_classes=num_classes,
            allow_constant=allow_constant,
        )
        num_classes = num_classes or int(np.max(labels)) + 1
        if limit is not None:
            kept, note = _evenly(len(images), limit, split)
            images = _rows(images, kept, cache and cache.extended("evenly", limit), split)
            labels = labels[kept]
            notes.append(note)
        parts[split] = {
            "image": _treated(images, treatment, len(parts), cache and cache.extended(limit)),
            "label": np.asarray(labels, np.int32),
        }
    class_names = decoded.class_names or tuple(map(str, range(num_classes or 1)))
    for split in ("train", "test"):
        notes += _absent(parts[split]["label"], class_names, split, bool(held_out))
    info = _info(name, decoded, treatment, class_names, parts, notes)
    for split in parts.values():
        release(split["image"])
    return Dataset(parts["train"], parts["test"], info)


def _stated_classes(num_classes: int | None, decoded: Decoded) -> int | None:
    """The number of classes that the user states or the source names, if either does."""
    if num_classes is not None:
        require(
            1 <= num_classes <= MAX_CLASSES,
            f"num_classes must be between 1 and {MAX_CLASSES}, got {num_classes}",
        )
    elif decoded.class_names:
        return len(decoded.class_names)
    return num_classes


def _info(
    name: str,
    decoded: Decoded,
    treatment: Treatment,
    class_names: tuple[str, ...],
    parts: dict[str, dict[str, np.ndarray]],
    notes: Iterable[str],
) -> DatasetInfo:
    _require_same_shape(parts)
    return DatasetInfo(
        name=name,
        kind="images",
        shape=parts["train"]["image"].shape[1:],
        num_classes=len(class_names),
        class_names=class_names,
        num_train=len(parts["train"]["label"]),
        num_test=len(parts["test"]["label"]),
        pixels=_pixels(treatment),
        binarization=treatment.binarization,
        dequantization=treatment.dequantization,
        scaling=treatment.scaling,
        source=decoded.source,
        sha256=tree_sha256(parts),
        seed=treatment.seed,
        notes=tuple(notes),
    )


def _with_test(
    arrays: Mapping, num_classes: int | None, allow_constant: bool, cache: Cache | None
) -> tuple[dict, tuple[str, ...]]:
    """Add what a source lacks: labels of zeros, or a test split.

    Without a test split the last fifth of each class becomes one.

    Returns:
        The arrays, with all four of them present, and notes.
    """
    arrays = dict(arrays)
    for split in ("train", "test"):
        images = arrays[f"{split}_images"]
        if images is not None and arrays[f"{split}_labels"] is None:
            arrays[f"{split}_labels"] = np.zeros(np.shape(images)[:1], np.int32)
    if arrays["test_images"] is not None:
        return arrays, ()
    # Checked before the cut, so that a message counts images as the source does.
    check_images(
        arrays["train_images"],
        arrays["train_labels"],
        split="train",
        num_classes=num_classes,
        allow_constant=allow_constant,
    )
    images = np.asarray(arrays["train_images"])
    labels = np.asarray(arrays["train_labels"])
    is_test = np.zeros(len(labels), bool)
    for kind in np.unique(labels):
        members = np.flatnonzero(labels == kind)
        num_kept = len(members) - len(members) // SHARE
        is_test[members[num_kept:]] = True
    require(
        bool(is_test.any()),
        f"{len(labels)} images have no test split and are too few to hold out a fifth of a class;"
        f" give a test split, or at least {SHARE} images of a class",
        DataError,
    )
    cut = {
        "train_images": _rows(images, np.flatnonzero(~is_test), cache, "train_rest"),
        "train_labels": labels[~is_test],
        "test_images": _rows(images, np.flatnonzero(is_test), cache, "test_fifth"),
        "test_labels": labels[is_test],
    }
    return cut, ("last fifth of each class held out as test",)


def _absent(
    labels: np.ndarray, names: Sequence[str], split: str, held_out: bool
) -> tuple[str, ...]:
    """A note that names the classes without an image in the split, if there are any."""
    absent = np.setdiff1d(np.arange(len(names)), labels)
    if not len(absent):
        return ()
    shown = ", ".join(names[int(k)] for k in absent[:SHOWN_NAMES])
    num_more = len(absent) - SHOWN_NAMES
    more = f" and {num_more} more" if num_more > 0 else ""
    why = f" (fewer than {SHARE} each)" if held_out and split == "test" else ""
    return (f"no {split} images of class {shown}{more}{why}",)


def _evenly(total: int, limit: int, split: str) -> tuple[np.ndarray, str]:
    """The positions of `limit` evenly spaced examples, and a note."""
    if not 1 <= limit <= total:
        raise ConfigError(
            f"num_{split} must be between 1 and the {total} examples of the {split} split, got"
            f" {limit!r}"
        )
    chosen = np.arange(limit) * total // limit
    return chosen, f"{limit} of {total} {split} examples, evenly spaced"


def _rows(images: np.ndarray, chosen: np.ndarray, cache: Cache | None, what: str) -> np.ndarray:
    """`images[chosen]`, in memory or, where that is large, in a file."""
    row = images.shape[1:]
    if cache is None or not is_large(len(chosen) * images[0].nbytes):
        return images[chosen]
    size = rows_at_once(row, images.itemsize)
    starts = range(0, len(chosen), size)
    return cache.array(
        what, row, images.dtype, lambda: (images[chosen[i : i + size]] for i in starts)
    )


def _treated(
    images: np.ndarray, treatment: Treatment, part: int, cache: Cache | None
) -> np.ndarray:
    """Images in C order, binarized once if that is asked for; in a file where they are large."""
    kind = treatment.binarization
    seed = (treatment.seed, part)
    if kind == "none" and images.flags.c_contiguous:
        return images
    if cache is None or not is_large(images.nbytes):
        if kind == "static":
            return static_binarize(images, seed)
        return _on_or_off(images) if kind == "threshold" else np.ascontiguousarray(images)
    made = {
        "static": lambda: binarized_blocks(images, seed),
        "threshold": lambda: map(_on_or_off, blocks(images)),
    }.get(kind, lambda: blocks(images))
    kept = cache.extended(kind, part, *(seed if kind == "static" else ()))
    return kept.array("treated", images.shape[1:], np.uint8, made)


def _on_or_off(images: np.ndarray) -> np.ndarray:
    return (images > 127) * np.uint8(255)


def _pixels(treatment: Treatment) -> str:
    """What is stored and what a model sees, in words."""
    low = "0" if treatment.scaling == "unit" else "-1"
    if treatment.binarization != "none":
        values = f"{low} or 1"
    elif treatment.dequantization == "uniform":
        values = f"float32 in [{low}, 1)"
    else:
        values = f"float32 in [{low}, 1]"
    return f"uint8 0..255 stored; model sees {values}"


def _require_same_shape(parts: dict[str, dict[str, np.ndarray]]) -> None:
    train = parts["train"]["image"].shape[1:]
    test = parts["test"]["image"].shape[1:]
    require(
        train == test,
        f"train images are {train} but test images are {test}; they must agree",
        DataError,
    )
