"""Names of the four IDX files of a set: MNIST's, and those that other publishers use.

train-images-idx3-ubyte[.gz]                       MNIST, Fashion-MNIST, KMNIST
train-images.idx3-ubyte                            Kaggle and others
emnist-letters-train-images-idx3-ubyte[.gz]        EMNIST, "test" for "t10k"
"""

import os
import pathlib
import re
from collections.abc import Callable
from typing import NamedTuple

from dgm_jax.core import DataError, did_you_mean, require
from dgm_jax.data.paths import PathLike, listed

FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
_NAME = re.compile(
    r"(?P<prefix>(?:.*[-_.])?)(?P<split>train|t10k|test)[-_.](?P<what>images?|labels?)"
    r"[-_.]idx(?P<rank>[13])[-_.]ubyte(?:\.gz)?",
    re.IGNORECASE,
)
_ANY = re.compile(r".*idx\d[-_.]ubyte(\.gz)?", re.IGNORECASE)

Sets = dict[str, dict[str, list[pathlib.Path]]]  # {prefix: {key of FILES: files}}


class IdxFiles(NamedTuple):
    """The IDX files of one set in a folder.

    Attributes:
        folder: the folder.
        prefix: what precedes "train" in the names.
        paths: those of the four files that exist, by the keys of `FILES`.
        notes: files that were left out.
    """

    folder: pathlib.Path
    prefix: str
    paths: dict[str, pathlib.Path]
    notes: tuple[str, ...]


def find(folder: PathLike, prefix: str | None = "") -> IdxFiles:
    """Find the files of one set in a folder.

    Args:
        folder: the folder; if it cannot be listed, no file is found.
        prefix: what precedes "train" in the names, such as "emnist-letters", with or without the
            hyphen after it; "" for names that begin with "train"; None for the only set.

    Returns:
        The files.

    Raises:
        DataError: if there are several sets and none was chosen, or none of the chosen name.
    """
    root = pathlib.Path(folder)
    sets, unread = _sets(root)
    if prefix is None:
        chosen = _only_set(root, sets)
        for other in sets.keys() - {chosen}:
            unread += [path.name for paths in sets[other].values() for path in paths]
    else:
        chosen = _named_set(root, sets, prefix)
    candidates = sets.get(chosen, {})
    paths = {}
    for key in FILES:
        if key in candidates:
            best, *rest = sorted(candidates[key], key=_ranks(chosen, key))
            paths[key] = best
            unread += [path.name for path in rest]
    notes = (f"IDX files not read: {listed(unread)}",) if unread else ()
    return IdxFiles(root, chosen, paths, notes)


def idx_paths(folder: PathLike) -> dict[str, pathlib.Path]:
    """Find the files of MNIST's names in a folder.

    Args:
        folder: the folder.

    Returns:
        Those of the four files that exist, by the keys of `FILES`.
    """
    return find(folder).paths


def is_idx_folder(folder: PathLike) -> bool:
    """Whether any of the four files exists (`read_idx_folder` then requires all).

    Args:
        folder: the folder.

    Returns:
        True for one file or more.
    """
    return bool(idx_paths(folder))


def _only_set(folder: pathlib.Path, sets: Sets) -> str:
    """The prefix of the only set, or of the one that has none."""
    require(
        len(sets) <= 1 or "" in sets,
        f"{folder}: files of several sets, {_shown(sets)}; choose one by the option prefix"
        f" (in a name: idx:{folder}?prefix={max(map(_bare, sets), default='')})",
        DataError,
    )
    return "" if "" in sets else next(iter(sets), "")


def _named_set(folder: pathlib.Path, sets: Sets, prefix: str) -> str:
    """The full prefix, with its hyphen, of the set that a user called `prefix`."""
    fitting = [full for full in sets if prefix in (full, _bare(full))]
    require(
        bool(fitting) or prefix == "",
        f"{folder}: no IDX files that begin with {prefix!r}{did_you_mean(prefix, sets)}; it has"
        f" {_shown(sets)}",
        DataError,
    )
    return fitting[0] if fitting else ""


def _sets(folder: pathlib.Path) -> tuple[Sets, list[str]]:
    """The sets of a folder, and names of IDX files that belong to none."""
    try:
        names = sorted(os.listdir(folder))
    except (OSError, ValueError):  # no folder, so no files
        names = []
    sets: Sets = {}
    unknown = []
    for name in names:
        match = _NAME.fullmatch(name)
        key = _key(match) if match else None
        if match and key and (folder / name).is_file():
            sets.setdefault(match["prefix"], {}).setdefault(key, []).append(folder / name)
        elif _ANY.fullmatch(name):
            unknown.append(name)
    return sets, unknown


def _key(match: re.Match[str]) -> str | None:
    """The key of `FILES` of a file's name, if its rank fits."""
    what = "images" if match["what"].lower().startswith("image") else "labels"
    split = "train" if match["split"].lower() == "train" else "test"
    rank = "3" if what == "images" else "1"
    return f"{split}_{what}" if match["rank"] == rank else None


def _ranks(prefix: str, key: str) -> Callable[[pathlib.Path], tuple[int, str]]:
    """A sort key: published names first, packed before plain, then other spellings."""
    published = [f"{prefix}{FILES[key]}.gz", f"{prefix}{FILES[key]}"]

    def rank(path: pathlib.Path) -> tuple[int, str]:
        place = published.index(path.name) if path.name in published else len(published)
        return place, path.name

    return rank


def _shown(sets: Sets) -> str:
    return listed(repr(_bare(prefix)) for prefix in sets) or "none"


def _bare(prefix: str) -> str:
    return prefix.rstrip("-_.")
