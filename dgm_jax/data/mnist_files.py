"""Where the IDX files of MNIST and Fashion-MNIST are looked for, and what to do without them."""

import os
import pathlib

from dgm_jax.core import DataError, require
from dgm_jax.data.idx_names import FILES, is_idx_folder
from dgm_jax.data.packages import INSTALL, OFFLINE
from dgm_jax.data.paths import PathLike
from dgm_jax.data.tfds_source import DATA_VARIABLE, PREPARE

SYSTEM_DATASETS = pathlib.Path("/usr") / "share" / "datasets"
_FIRST_LABELS = (
    ("fashion_mnist", "Fashion-MNIST", [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]),
    ("mnist", "MNIST", [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]),
)


def find_idx(name: str, folder: str, data_dir: PathLike | None) -> pathlib.Path | None:
    """Find the folder that holds a set's IDX files.

    Args:
        name: name of the set.
        folder: name of its folder in distributions.
        data_dir: where the user says that they are; None for the usual places.

    Returns:
        The first folder that holds one of the four files, or None.
    """
    candidates = _candidates(name, folder, data_dir)
    return next((path for path in candidates if is_idx_folder(path)), None)


def find_fashion_mnist() -> pathlib.Path | None:
    """Find the folder whose IDX files `fashion_mnist` reads.

    Returns:
        The folder, or None.
    """
    return find_idx("fashion_mnist", "fashion-mnist", None)


def _candidates(name: str, folder: str, data_dir: PathLike | None) -> list[pathlib.Path]:
    """Folders in which IDX files of the set are looked for, in this order."""
    if data_dir is not None:
        root = pathlib.Path(data_dir)
        return [root, root / folder, root / name]
    candidates = []
    variable = os.environ.get(DATA_VARIABLE)
    if variable:
        root = pathlib.Path(variable)
        candidates += [root / folder, root / name]
        # MNIST and Fashion-MNIST have the same four file names, so files directly in the root are
        # taken for one of them only.
        if name == "fashion_mnist":
            candidates.append(root)
    return [*candidates, SYSTEM_DATASETS / folder]


def absent(name: str, folder: str, data_dir: PathLike | None, why: str) -> DataError:
    """Make the error that says where a set was looked for, and lists every way to get it.

    Args:
        name: name of the set.
        folder: name of its folder in distributions.
        data_dir: where the user says that it is; None for the usual places.
        why: why tensorflow-datasets could not give it either.

    Returns:
        The error, to be raised.
    """
    looked = " or ".join(dict.fromkeys(map(str, _candidates(name, folder, data_dir))))
    quickest = f"5,000 of its digits: {INSTALL}, then mnist_5k"
    from_idx_files = ""
    if name == "fashion_mnist":
        quickest = "Debian's package: apt install dataset-fashion-mnist"
        from_idx_files = f" from IDX files ({PREPARE}, then {DATA_VARIABLE}=FOLDER) or"
    ways = (
        quickest,
        f"IDX files: {DATA_VARIABLE}=FOLDER where FOLDER/{folder} has the four files"
        f" ({FILES['train_images']}.gz, ...)",
        f"tensorflow-datasets: {INSTALL}, then prepare the set{from_idx_files}"
        f" by tfds:{name}?download=True (which may need tensorflow)",
        "images of your own: npz:PATH, folder:PATH or idx:PATH (--data npz:PATH)",
        f"another set: {OFFLINE} (--data digits)",
    )
    return DataError(
        f"{name} was not found: no IDX files in {looked}, and {why}. Ways to go on:\n  "
        + "\n  ".join(ways)
    )


def check_not_the_other(name: str, folder: pathlib.Path, labels: list[int]) -> None:
    """Refuse Fashion-MNIST's files as MNIST's and the reverse.

    Both have the same file names; their first ten training labels differ.

    Args:
        name: name of the set that was asked for.
        folder: where the files are.
        labels: the first ten training labels.

    Raises:
        DataError: if they are those of the other set.
    """
    for known, title, first in _FIRST_LABELS:
        require(name == known or labels != first, f"{folder} holds {title}, not {name}", DataError)
