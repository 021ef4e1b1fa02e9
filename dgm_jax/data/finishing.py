"""From decoded arrays to a checked `Dataset`: test split, parts of a set, identity."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from dgm_jax.core import ConfigError, DataError, require, tree_sha256
from dgm_jax.data.checks import check_images
from dgm_jax.data.dataset import Dataset, DatasetInfo
from dgm_jax.data.images import Decoded
from dgm_jax.data.paths import SHOWN_NAMES
from dgm_jax.data.pixels import static_binarize

IMAGE_OPTIONS = {"num_train": int, "num_test": int, "num_classes": int, "allow_constant": bool}
MAX_CLASSES = 2**20  # more than any labelled set has; a name is made for each of them
SHARE = 5  # one of so many images of a class is held out as test where a set has no test split


class Treatment(NamedTuple):
    """What is done to the pixels of a set, as the arguments of `load` say."""

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
    """The data set of a source's arrays, after every check; the options are those of `load`."""
    if num_classes is not None:
        require(
            1 <= num_classes <= MAX_CLASSES,
            f"num_classes must be between 1 and {MAX_CLASSES}, got {num_classes}",
        )
    elif decoded.class_names:
        num_classes = len(decoded.class_names)
    arrays, held_out = _with_test(decoded.arrays, num_classes, allow_constant)
    parts, notes = {}, [*decoded.notes, *held_out]
    for split, limit in (("train", num_train), ("test", num_test)):
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        check_images(
            images, labels, split=split, num_classes=num_classes, allow_constant=allow_constant
        )
        num_classes = num_classes or int(np.max(labels)) + 1
        if limit is not None:
            images, labels, note = _evenly(images, labels, limit, split)
            notes.append(note)
        parts[split] = {
            "image": np.ascontiguousarray(_binarized(images, treatment, len(parts))),
            "label": np.asarray(labels, np.int32),
        }
    class_names = decoded.class_names or tuple(str(k) for k in range(num_classes or 1))
    for split in ("train", "test"):
        notes += _absent(parts[split]["label"], class_names, split, bool(held_out))
    info = _info(name, decoded, treatment, class_names, parts, notes)
    return Dataset(parts["train"], parts["test"], info)


def _info(name, decoded: Decoded, treatment: Treatment, class_names, parts, notes) -> DatasetInfo:
    _require_same_shape(parts)
    scaling, binarization, dequantization, seed = treatment
    return DatasetInfo(
        name=name,
        kind="images",
        shape=parts["train"]["image"].shape[1:],
        num_classes=len(class_names),
        class_names=class_names,
        num_train=len(parts["train"]["label"]),
        num_test=len(parts["test"]["label"]),
        pixels=_pixels(scaling, binarization, dequantization),
        binarization=binarization,
        dequantization=dequantization,
        scaling=scaling,
        source=decoded.source,
        sha256=tree_sha256(parts),
        seed=seed,
        notes=tuple(notes),
    )


def _with_test(
    arrays: Mapping, num_classes: int | None, allow_constant: bool
) -> tuple[dict, tuple[str, ...]]:
    """Labels of zeros where there are none; the last fifth of each class as test split where there
    is none."""
    arrays = dict(arrays)
    for split in ("train", "test"):
        if arrays[f"{split}_images"] is not None and arrays[f"{split}_labels"] is None:
            arrays[f"{split}_labels"] = np.zeros(np.shape(arrays[f"{split}_images"])[:1], np.int32)
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
    images, labels = np.asarray(arrays["train_images"]), np.asarray(arrays["train_labels"])
    test = np.zeros(len(labels), bool)
    for kind in np.unique(labels):
        members = np.flatnonzero(labels == kind)
        test[members[len(members) - len(members) // SHARE :]] = True
    require(
        bool(test.any()),
        f"{len(labels)} images have no test split and are too few to hold out a fifth of a class;"
        f" give a test split, or at least {SHARE} images of a class",
        DataError,
    )
    cut = {
        "train_images": images[~test],
        "train_labels": labels[~test],
        "test_images": images[test],
        "test_labels": labels[test],
    }
    return cut, ("last fifth of each class held out as test",)


def _absent(labels: np.ndarray, names, split: str, held_out: bool) -> tuple[str, ...]:
    """A note of the classes that the split has no image of."""
    absent = np.setdiff1d(np.arange(len(names)), labels)
    if not len(absent):
        return ()
    shown = ", ".join(names[k] for k in absent[:SHOWN_NAMES])
    more = f" and {len(absent) - SHOWN_NAMES} more" if len(absent) > SHOWN_NAMES else ""
    why = f" (fewer than {SHARE} each)" if held_out and split == "test" else ""
    return (f"no {split} images of class {shown}{more}{why}",)


def _evenly(images, labels, limit: int, split: str):
    total = len(images)
    if not 1 <= limit <= total:
        raise ConfigError(
            f"num_{split} must be between 1 and the {total} examples of the {split} split, got"
            f" {limit!r}"
        )
    chosen = np.arange(limit) * total // limit
    return images[chosen], labels[chosen], f"{limit} of {total} {split} examples, evenly spaced"


def _binarized(images: np.ndarray, treatment: Treatment, part: int) -> np.ndarray:
    if treatment.binarization == "static":
        return static_binarize(images, (treatment.seed, part))
    threshold = treatment.binarization == "threshold"
    return (images > 127) * np.uint8(255) if threshold else images


def _pixels(scaling: str, binarization: str, dequantization: str) -> str:
    low = "0" if scaling == "unit" else "-1"
    if binarization != "none":
        seen = f"{low} or 1"
    else:
        seen = f"float32 in [{low}, 1)" if dequantization == "uniform" else f"float32 in [{low}, 1]"
    return f"uint8 0..255 stored; model sees {seen}"


def _require_same_shape(parts: dict) -> None:
    train, test = parts["train"]["image"].shape[1:], parts["test"]["image"].shape[1:]
    require(
        train == test,
        f"train images are {train} but test images are {test}; they must agree",
        DataError,
    )
