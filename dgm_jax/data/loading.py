"""`load(name)`: from a name to a checked `Dataset`; `from_arrays`: the same of arrays in memory."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dgm_jax.core import DataError, checks, described, lookup, require
from dgm_jax.data._available import AUTO, available
from dgm_jax.data.checks import as_array
from dgm_jax.data.dataset import Dataset
from dgm_jax.data.densities2d import DENSITIES
from dgm_jax.data.density_sets import load_density
from dgm_jax.data.finishing import IMAGE_OPTIONS, Treatment, finish
from dgm_jax.data.images import IMAGE_SETS, OPTIONS_OF, PREFIXES, Decoded
from dgm_jax.data.named_arrays import choose
from dgm_jax.data.options import checked, split_name
from dgm_jax.data.pixels import check_choices

MAX_SEED = 2**32 - 1


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

    name: a density of `DENSITIES`; a set of `IMAGE_SETS`; `tfds:NAME`, `folder:PATH`, `npz:PATH`,
        `idx:PATH`; or `auto`, the first set of images that is here (`available`). It may carry
        options, for command lines: `folder:PATH?image_size=32&bad_files=skip` is
        `image_size=32, bad_files="skip"`.
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
    What a reader mended or left out stands in `info.notes`.
    """
    told = "; data.from_arrays({'x_train': array}) takes arrays" if hasattr(name, "dtype") else ""
    require(
        isinstance(name, str) and bool(name),
        f"expected the name of a data set, got {described(name)}{told}",
    )
    treatment = _treatment(scaling, binarization, dequantization, seed)
    name, options = split_name(name, options)
    name = available().name if name == AUTO else name
    if name in DENSITIES:
        choices = {
            "data_dir": (data_dir, None),
            "scaling": (scaling, "symmetric"),
            "binarization": (binarization, "none"),
            "dequantization": (dequantization, "none"),
        }
        for key, (value, default) in choices.items():
            require(value == default, f"{name} is a 2-D density; {key}={value!r} is for images")
        return load_density(name, treatment.seed, options)
    reader, arguments = _image_reader(name)
    options = checked(name, options, OPTIONS_OF.get(reader, reader), IMAGE_OPTIONS)
    own = {key: options.pop(key) for key in IMAGE_OPTIONS if key in options}
    return finish(name, reader(*arguments, data_dir, **options), treatment, **own)


def from_arrays(
    arrays: Mapping[str, Any],
    *,
    name: str = "arrays",
    scaling: str = "symmetric",
    binarization: str = "none",
    dequantization: str = "none",
    seed: int = 0,
    **options,
) -> Dataset:
    """The data set of arrays in memory, under the names that npz files have: `{"x_train": uint8
    [N, H, W, C], "y_train": [N], "x_test": ..., "y_test": ...}`, of which the images of one split
    are enough.

    The other arguments, the checks, the errors and the notes are those of `load`; options are
    `num_train`, `num_test`, `num_classes` and `allow_constant`.
    """
    treatment = _treatment(scaling, binarization, dequantization, seed)
    own = checked(name, options, _no_options, IMAGE_OPTIONS)
    require(
        isinstance(arrays, Mapping) and all(isinstance(key, str) for key in arrays),
        f"expected arrays by name, such as {{'x_train': images}}, got {described(arrays)}",
    )
    keys, notes = choose(arrays.keys(), name)
    picked = {
        key: None if chosen is None else _array(arrays[chosen], key) for key, chosen in keys.items()
    }
    return finish(name, Decoded(picked, None, "arrays in memory", notes), treatment, **own)


def _array(value, key: str) -> np.ndarray:
    split, _, what = key.partition("_")
    if what == "images":
        return as_array(value, split)
    try:
        return np.asarray(value)
    except ValueError as error:
        raise DataError(f"{split} labels: expected one integer for each image: {error}") from error


def _no_options() -> None:
    """Arrays in memory have the options of all images, and none of their own."""


def _treatment(scaling: str, binarization: str, dequantization: str, seed: int) -> Treatment:
    checks.whole(seed, "seed", 0)
    require(seed <= MAX_SEED, f"seed must be at most {MAX_SEED}, got {seed}")
    check_choices(scaling, binarization, dequantization)
    return Treatment(scaling, binarization, dequantization, int(seed))


def _image_reader(name: str):
    prefix, colon, rest = name.partition(":")
    if colon:
        reader = lookup(PREFIXES, prefix, "kind of data set")
        require(bool(rest), f"{name!r} lacks what follows the colon, as in {prefix}:NAME")
        require("\x00" not in rest, f"a name cannot hold a NUL character: {name!r}")
        return reader, (rest if prefix == "tfds" else pathlib.Path(rest),)
    known = {
        AUTO: None,
        **DENSITIES,
        **IMAGE_SETS,
        **{f"{prefix}:...": None for prefix in PREFIXES},
    }
    return lookup(known, name, "data set"), ()
