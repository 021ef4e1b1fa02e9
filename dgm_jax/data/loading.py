"""Load data sets by name, or make them of arrays in memory."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dgm_jax.core import DataError, checks, described, lookup, require
from dgm_jax.core.once import once
from dgm_jax.data._available import AUTO, available
from dgm_jax.data.checks import as_array
from dgm_jax.data.dataset import Dataset
from dgm_jax.data.densities2d import DENSITIES
from dgm_jax.data.density_sets import load_density
from dgm_jax.data.finishing import IMAGE_OPTIONS, Treatment, finish
from dgm_jax.data.images import IMAGE_SETS, OPTIONS_OF, PREFIXES, Decoded
from dgm_jax.data.named_arrays import choose
from dgm_jax.data.options import checked, split_name
from dgm_jax.data.paths import PathLike
from dgm_jax.data.pixels import check_choices

MAX_SEED = 2**32 - 1


def load_images(name: str, **options: Any) -> Dataset:
    """Load a set of images, see `load`.

    Args:
        name: name of the set.
        **options: as `load`.

    Returns:
        The data set.

    Raises:
        ConfigError: for a density, and as `load`.
        DataError: as `load`.
    """
    dataset = load(name, **options)
    require(
        dataset.info.kind == "images",
        f"data must be a set of images, got the density {name!r}",
    )
    return dataset


def load(
    name: str,
    *,
    data_dir: PathLike | None = None,
    scaling: str = "symmetric",
    binarization: str = "none",
    dequantization: str = "none",
    seed: int = 0,
    **options: Any,
) -> Dataset:
    """Read, check and describe a data set.

    Args:
        name: a density of `DENSITIES`; a set of `IMAGE_SETS`; `tfds:NAME`, `folder:PATH`,
            `npz:PATH`, `idx:PATH`; or `auto`, the first set of images on this machine
            (`available`). It may carry options, for command lines:
            `folder:PATH?image_size=32&bad_files=skip` is `image_size=32, bad_files="skip"`.
        data_dir: folder of the files (by default the one named by DGM_JAX_DATA, then the usual
            places).
        scaling: the range that a model sees, "unit" [0, 1] or "symmetric" [-1, 1].
        binarization: "none", "static" (drawn once here, with `seed`), "dynamic" (for each batch),
            "threshold" (x > 1/2).
        dequantization: "none" or "uniform", (x + u) / 256 for each batch; it excludes binarization.
        seed: seed of static binarization, and of a density's stored samples.
        **options: of the density (`num_modes`, `scale`, ...) with `num_train`, `num_test`; or of
            the image source (`image_size`, `bad_files`, `train_split`, `download`, ...) with
            `num_train`, `num_test` (that many, evenly spaced, so that sorted sets keep their
            classes), `num_classes` and `allow_constant`.

    Returns:
        A `Dataset`: arrays by name in `train` and `test`, for images "image" (uint8 [N, H, W, C])
        and "label", and the description `info`, whose `notes` say what was changed or left out.

    Raises:
        ConfigError: for an unknown name or option.
        DataError: for contents that do not fit.
    """
    told = "; data.from_arrays({'x_train': array}) takes arrays" if hasattr(name, "dtype") else ""
    require(
        isinstance(name, str) and bool(name),
        f"expected the name of a data set, got {described(name)}{told}",
    )
    treatment = _treatment(scaling, binarization, dequantization, seed)
    asked = repr((name, data_dir, treatment, sorted(options.items())))
    return once(("data", asked), lambda: _read(name, data_dir, treatment, options), _own)


def _own(dataset: Dataset) -> Dataset:
    """The data set with arrays that may be changed, or that cannot be."""
    train, test = (
        {name: x.copy() if x.flags.writeable else x for name, x in arrays.items()}
        for arrays in (dataset.train, dataset.test)
    )
    return dataset._replace(train=train, test=test)


def _read(
    name: str, data_dir: PathLike | None, treatment: Treatment, options: dict[str, Any]
) -> Dataset:
    name, options = split_name(name, options)
    name = available().name if name == AUTO else name
    if name in DENSITIES:
        choices = {
            "data_dir": (data_dir, None),
            "scaling": (treatment.scaling, "symmetric"),
            "binarization": (treatment.binarization, "none"),
            "dequantization": (treatment.dequantization, "none"),
        }
        for key, (value, default) in choices.items():
            require(value == default, f"{name} is a 2-D density; {key}={value!r} is for images")
        return load_density(name, treatment.seed, options)
    reader, arguments = _image_reader(name)
    options = checked(name, options, OPTIONS_OF.get(reader, reader), IMAGE_OPTIONS)
    image_options = {key: options.pop(key) for key in IMAGE_OPTIONS if key in options}
    decoded = reader(*arguments, data_dir, **options)
    return finish(name, decoded, treatment, **image_options)


def from_arrays(
    arrays: Mapping[str, Any],
    *,
    name: str = "arrays",
    scaling: str = "symmetric",
    binarization: str = "none",
    dequantization: str = "none",
    seed: int = 0,
    **options: Any,
) -> Dataset:
    """Make a data set of arrays in memory, with the checks of `load`.

    Args:
        arrays: under the names that npz files have: `{"x_train": uint8[N, H, W, C], "y_train": [N],
            "x_test": ..., "y_test": ...}`; the images of one split are enough.
        name: name of the data set.
        scaling: as `load`.
        binarization: as `load`.
        dequantization: as `load`.
        seed: as `load`.
        **options: `num_train`, `num_test`, `num_classes` and `allow_constant`, as `load`.

    Returns:
        The data set.

    Raises:
        ConfigError: for an unknown option, or anything but arrays by name.
        DataError: for arrays that do not fit.
    """
    treatment = _treatment(scaling, binarization, dequantization, seed)
    image_options = checked(name, options, _no_options, IMAGE_OPTIONS)
    require(
        isinstance(arrays, Mapping) and all(isinstance(key, str) for key in arrays),
        f"expected arrays by name, such as {{'x_train': images}}, got {described(arrays)}",
    )
    keys, notes = choose(arrays.keys(), name)
    picked = {
        key: None if given is None else _array(arrays[given], key) for key, given in keys.items()
    }
    decoded = Decoded(picked, None, "arrays in memory", notes)
    return finish(name, decoded, treatment, **image_options)


def _array(value: Any, key: str) -> np.ndarray:
    split, _, what = key.partition("_")
    if what == "images":
        return as_array(value, split)
    try:
        return np.asarray(value)
    except ValueError as error:
        raise DataError(f"{split} labels: expected one integer for each image: {error}") from error


def _no_options() -> None:
    """The options of arrays in memory, which are those of all images and no others."""


def _treatment(scaling: str, binarization: str, dequantization: str, seed: int) -> Treatment:
    checks.whole(seed, "seed", 0)
    require(seed <= MAX_SEED, f"seed must be at most {MAX_SEED}, got {seed}")
    check_choices(scaling, binarization, dequantization)
    return Treatment(scaling, binarization, dequantization, int(seed))


def _image_reader(
    name: str,
) -> tuple[Callable[..., Decoded], tuple[()] | tuple[str | pathlib.Path]]:
    """The reader of a name, and the argument that follows its colon."""
    prefix, colon, rest = name.partition(":")
    if colon:
        reader = lookup(PREFIXES, prefix, "kind of data set")
        require(bool(rest), f"{name!r} lacks what follows the colon, as in {prefix}:NAME")
        require("\x00" not in rest, f"a name cannot hold a NUL character: {name!r}")
        argument = rest if prefix == "tfds" else pathlib.Path(rest)
        return reader, (argument,)
    known = {
        AUTO: None,
        **DENSITIES,
        **IMAGE_SETS,
        **{f"{prefix}:...": None for prefix in PREFIXES},
    }
    return lookup(known, name, "data set"), ()
