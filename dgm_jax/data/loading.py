"""`load(name)`: from a name to a checked `Dataset`."""

import hashlib
import inspect
import pathlib
import typing
from collections.abc import Mapping

import jax
import numpy as np

from dgm_jax.core import ConfigError, DataError, checks, did_you_mean, lookup, require, tree_sha256
from dgm_jax.data.checks import check_images
from dgm_jax.data.dataset import Dataset, DatasetInfo
from dgm_jax.data.densities2d import DENSITIES
from dgm_jax.data.images import IMAGE_SETS, OPTIONS_OF, PREFIXES, Decoded
from dgm_jax.data.names import LOAD_OPTIONS, with_options
from dgm_jax.data.pixels import check_choices, static_binarize

IMAGE_OPTIONS = ("num_train", "num_test", "num_classes", "allow_constant")

MAX_CLASSES = 2**20  # more than any labelled set has; a name is made for each of them

FIXED_SAMPLES_TAG = 0x2D5E7


def load_images(name: str, **options) -> Dataset:
    """`load`, and a `ConfigError` for a density."""
    dataset = load(name, **options)
    require(
        dataset.info.kind == "images", f"data must be a set of images, got the density {name!r}"
    )
    return dataset


def load(
    name: str,
    *,
    data_dir=None,
    scaling: str = "symmetric",
    binarization: str = "none",
    dequantization: str = "none",
    seed: int = 0,
    **options,
) -> Dataset:
    """The data set `name`, read, checked and described.

    name: a density of `DENSITIES`; a set of `IMAGE_SETS`; or `tfds:NAME`, `folder:PATH`,
        `npz:PATH`, `idx:PATH`. It may carry options, for command lines:
        `folder:PATH?image_size=32&bad_files=skip` is `image_size=32, bad_files="skip"`.
    data_dir: where files lie (else the folder named by DGM_JAX_DATA, then the usual places).
    scaling: what a model sees, "unit" [0, 1] or "symmetric" [-1, 1].
    binarization: "none", "static" (drawn once here, with `seed`), "dynamic" (for each batch),
        "threshold" (x > 1/2).
    dequantization: "none" or "uniform", (x + u) / 256 for each batch; it excludes binarisation.
    options: of the density (`num_modes`, `scale`, ...) with `num_train`, `num_test`; or of the
        image source (`image_size`, `bad_files`, `train_split`, `download`, ...) with `num_train`,
        `num_test` (that many, evenly spaced, so that sorted sets keep their classes), `num_classes`
        and `allow_constant`.
    Raises `ConfigError` for an unknown name or option, `DataError` for contents that do not fit.
    """
    require(isinstance(name, str) and bool(name), f"expected the name of a data set, got {name!r}")
    require(
        checks.is_whole(seed) and seed >= 0, f"seed must be a non-negative integer, got {seed!r}"
    )
    seed = int(seed)
    options = {key: v.item() if isinstance(v, np.generic) else v for key, v in options.items()}
    check_choices(scaling, binarization, dequantization)
    name, options = with_options(name, options)
    if name in DENSITIES:
        choices = {
            "data_dir": (data_dir, None),
            "scaling": (scaling, "symmetric"),
            "binarization": (binarization, "none"),
            "dequantization": (dequantization, "none"),
        }
        for key, (value, default) in choices.items():
            require(value == default, f"{name} is a 2-D density; {key}={value!r} is for images")
        return _load_density(name, seed, options)
    reader, arguments = _image_reader(name)
    own = {key: options.pop(key) for key in IMAGE_OPTIONS if key in options}
    for key, value in own.items():
        _check_text(name, key, value, bool if key == "allow_constant" else int)
    _check_options(name, options, OPTIONS_OF.get(reader, reader), IMAGE_OPTIONS)
    decoded = reader(*arguments, data_dir, **options)
    return _finish(name, decoded, scaling, binarization, dequantization, seed, **own)


def _load_density(name: str, seed: int, options: dict) -> Dataset:
    num_train, num_test = options.pop("num_train", 100_000), options.pop("num_test", 10_000)
    for key, value in (("num_train", num_train), ("num_test", num_test)):
        require(
            checks.is_whole(value) and value >= 1,
            f"{key} must be a positive integer, got {value!r}",
        )
    _check_options(name, options, DENSITIES[name], ("num_train", "num_test"))
    density = DENSITIES[name](**options)
    defaults = {key: p.default for key, p in inspect.signature(DENSITIES[name]).parameters.items()}
    notes = tuple(f"{key}={value}" for key, value in (defaults | options).items())
    # A tag keeps these keys apart from those of a run with the same seed: split(key)[i] is
    # fold_in(key, i).
    key_train, key_test = jax.random.split(
        jax.random.fold_in(jax.random.key(seed), FIXED_SAMPLES_TAG)
    )
    arrays = {
        "train": {"x": np.asarray(density.sample(key_train, num_train), np.float32)},
        "test": {"x": np.asarray(density.sample(key_test, num_test), np.float32)},
    }
    definition = f"{name}({', '.join(notes)}) seed {seed} train {num_train} test {num_test}"
    info = DatasetInfo(
        name=name,
        kind="density",
        shape=(2,),
        num_classes=0,
        class_names=(),
        num_train=num_train,
        num_test=num_test,
        pixels="none: points of the plane",
        binarization="none",
        dequantization="none",
        scaling="none",
        source="sampled from an exact density",
        sha256=hashlib.sha256(definition.encode()).hexdigest(),
        seed=seed,
        notes=notes,
    )
    return Dataset(arrays["train"], arrays["test"], info, density)


def _image_reader(name: str):
    prefix, colon, rest = name.partition(":")
    if colon:
        reader = lookup(PREFIXES, prefix, "kind of data set")
        require(bool(rest), f"{name!r} lacks what follows the colon, as in {prefix}:NAME")
        require("\x00" not in rest, f"a name cannot hold a NUL character: {name!r}")
        return reader, (rest if prefix == "tfds" else pathlib.Path(rest),)
    known = {**DENSITIES, **IMAGE_SETS, **{f"{prefix}:...": None for prefix in PREFIXES}}
    return lookup(known, name, "data set"), ()


def _check_options(name: str, options: dict, function, extra: tuple[str, ...]) -> None:
    parameters = inspect.signature(function).parameters.values()
    known = [p.name for p in parameters if p.name not in ("name", "path", "data_dir")] + list(extra)
    hints = typing.get_type_hints(function)
    for option, value in options.items():
        require(
            option in known,
            f"data set {name!r} has no option {option!r}"
            f"{did_you_mean(option, (*known, *LOAD_OPTIONS))}; it has: {', '.join(sorted(known))}",
        )
        _check_text(name, option, value, hints[option])


def _check_text(name: str, option: str, value, hint) -> None:
    due = str in (hint, *typing.get_args(hint)) or not isinstance(value, str)
    kind = getattr(hint, "__name__", None) if isinstance(hint, type) else hint
    require(due, f"data set {name!r}: {option} takes {kind}, got the text {value!r}")


def _finish(
    name,
    decoded: Decoded,
    scaling,
    binarization,
    dequantization,
    seed,
    *,
    num_train=None,
    num_test=None,
    num_classes=None,
    allow_constant=False,
) -> Dataset:
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
        images = _binarized(images, binarization, (seed, len(parts)))
        parts[split] = {
            "image": np.ascontiguousarray(images),
            "label": np.asarray(labels, np.int32),
        }
    _require_same_shape(parts)
    info = DatasetInfo(
        name=name,
        kind="images",
        shape=parts["train"]["image"].shape[1:],
        num_classes=num_classes,
        class_names=decoded.class_names or tuple(str(k) for k in range(num_classes)),
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
    return Dataset(parts["train"], parts["test"], info)


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
    images, labels = np.asarray(arrays["train_images"]), np.asarray(arrays["train_labels"])
    # Checked before the cut, so that a message counts images as the source does.
    check_images(
        images, labels, split="train", num_classes=num_classes, allow_constant=allow_constant
    )
    test = np.zeros(len(labels), bool)
    for kind in np.unique(labels):
        members = np.flatnonzero(labels == kind)
        test[members[len(members) - len(members) // 5 :]] = True
    require(
        bool(test.any()),
        f"{len(labels)} images have no test split and are too few to hold out a fifth of a class",
        DataError,
    )
    cut = {
        "train_images": images[~test],
        "train_labels": labels[~test],
        "test_images": images[test],
        "test_labels": labels[test],
    }
    return cut, ("last fifth of each class held out as test",)


def _evenly(images, labels, limit: int, split: str):
    total = len(images)
    if not checks.is_whole(limit) or not 1 <= limit <= total:
        raise ConfigError(
            f"num_{split} must be between 1 and the {total} examples of the {split} split, got"
            f" {limit!r}"
        )
    chosen = np.arange(limit) * total // limit
    return images[chosen], labels[chosen], f"{limit} of {total} {split} examples, evenly spaced"


def _binarized(images: np.ndarray, binarization: str, seed: tuple[int, int]) -> np.ndarray:
    if binarization == "static":
        return static_binarize(images, seed)
    return (images > 127) * np.uint8(255) if binarization == "threshold" else images


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
