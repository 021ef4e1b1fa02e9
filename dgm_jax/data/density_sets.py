"""A 2-D density as a data set: its options, its stored samples, its description."""

import hashlib
import inspect
from typing import Any

import jax
import numpy as np

from dgm_jax.core import checks, lookup, require
from dgm_jax.data.dataset import Dataset, DatasetInfo, Density2D
from dgm_jax.data.densities2d import DENSITIES
from dgm_jax.data.options import checked

FIXED_SAMPLES_TAG = 0x2D5E7
MAX_POINTS = 2**26  # of a split: half a GiB


def density(name: str, **options: Any) -> Density2D:
    """Make a density in the plane, to sample and to evaluate.

    Example: `density("ring", num_modes=8).sample(key, 100)` is [100, 2].

    Args:
        name: a name of `DENSITIES`.
        **options: keyword arguments of the density.

    Returns:
        The density.

    Raises:
        ConfigError: for an unknown name or option, or a value that does not fit.
    """
    make = lookup(DENSITIES, name, "density")
    return make(**checked(name, options, make, {}))


def load_density(name: str, seed: int, options: dict[str, Any]) -> Dataset:
    """Make the data set of a density, with stored samples.

    Args:
        name: a name of `DENSITIES`.
        seed: seed of the stored samples.
        options: keyword arguments of the density, and `num_train` and `num_test`.

    Returns:
        The data set with its `density`.

    Raises:
        ConfigError: for an unknown option, or a value that does not fit.
    """
    options = checked(name, options, DENSITIES[name], {"num_train": int, "num_test": int})
    sizes = {"num_train": options.pop("num_train", 100_000)}
    sizes["num_test"] = options.pop("num_test", 10_000)
    for key, value in sizes.items():
        checks.whole(value, key)
        require(value <= MAX_POINTS, f"{key} must be at most {MAX_POINTS}, got {value}")
    exact = density(name, **options)
    parameters = inspect.signature(DENSITIES[name]).parameters
    settings = {key: parameter.default for key, parameter in parameters.items()} | options
    notes = tuple(f"{key}={value}" for key, value in settings.items())
    # The tag makes these keys differ from those of a run with the same seed, since split(key)[i]
    # is fold_in(key, i).
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), FIXED_SAMPLES_TAG))
    train, test = (
        {"x": np.asarray(exact.sample(key, size), np.float32)}
        for key, size in zip(keys, sizes.values(), strict=True)
    )
    splits = " ".join(f"{key.removeprefix('num_')} {size}" for key, size in sizes.items())
    definition = f"{name}({', '.join(notes)}) seed {seed} {splits}"
    info = DatasetInfo(
        name=name,
        kind="density",
        shape=(2,),
        num_classes=0,
        class_names=(),
        **sizes,
        pixels="none: points of the plane",
        binarization="none",
        dequantization="none",
        scaling="none",
        source="sampled from an exact density",
        sha256=hashlib.sha256(definition.encode()).hexdigest(),
        seed=seed,
        notes=notes,
    )
    return Dataset(train, test, info, exact)
