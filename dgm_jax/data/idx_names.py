"""Names of the four IDX files of a set: MNIST's, and those that copies of it have.

train-images-idx3-ubyte[.gz]                       MNIST, Fashion-MNIST, KMNIST
train-images.idx3-ubyte                            Kaggle and others
emnist-letters-train-images-idx3-ubyte[.gz]        EMNIST, "test" for "t10k"
"""

import os
import pathlib
import re
from typing import NamedTuple

from dgm_jax.core import DataError, did_you_mean, require
from dgm_jax.data.paths import listed

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


class IdxFiles(NamedTuple):
    """paths: by the keys of `FILES`, those that are there. prefix: what stands before "train" in
    the names. notes: files that were left out."""

    folder: pathlib.Path
    prefix: str
    paths: dict[str, pathlib.Path]
    notes: tuple[str, ...]


def find(folder, prefix: str | None = "") -> IdxFiles:
    """The files of one set in `folder`.

    Args:
        prefix: what stands before "train" in the names, such as "emnist-letters", with or without
            the hyphen after it; "" for names that begin with it; None for the only set that is
            there.

    Raises:
        DataError: several sets where none was chosen, or none of the name chosen.
    """
    folder = pathlib.Path(folder)
    sets, others = _sets(folder)
    if prefix is None:
        require(
            len(sets) <= 1 or "" in sets,
            f"{folder}: files of several sets, {_shown(sets)}; choose one by the option prefix"
            f" (in a name: idx:{folder}?prefix={max(map(_bare, sets), default='')})",
            DataError,
        )
        chosen = "" if "" in sets else next(iter(sets), "")
        others += [p.name for k in sets if k != chosen for ps in sets[k].values() for p in ps]
    else:
        fitting = [p for p in sets if prefix in (p, _bare(p))]
        require(
            bool(fitting) or prefix == "",
            f"{folder}: no IDX files that begin with {prefix!r}{did_you_mean(prefix, sets)}; it has"
            f" {_shown(sets)}",
            DataError,
        )
        chosen = fitting[0] if fitting else ""
    found = sets.get(chosen, {})
    paths = {key: sorted(found[key], key=_ranks(chosen, key))[0] for key in FILES if key in found}
    unread = [p.name for key in found for p in found[key] if p != paths[key]] + others
    notes = (f"IDX files not read: {listed(unread)}",) if unread else ()
    return IdxFiles(folder, chosen, paths, notes)


def idx_paths(folder) -> dict[str, pathlib.Path]:
    """Paths of those of the four files of MNIST's names that are in `folder`, by the keys of
    `FILES`."""
    return find(folder).paths


def is_idx_folder(folder) -> bool:
    """Whether any of the four files is there (`read_idx_folder` then asks for all)."""
    return bool(idx_paths(folder))


def _sets(folder: pathlib.Path) -> tuple[dict[str, dict[str, list[pathlib.Path]]], list[str]]:
    """{prefix: {key of FILES: files}}, and names of IDX files that are none of these."""
    try:
        names = sorted(os.listdir(folder))
    except (OSError, ValueError):  # no folder: nothing is there
        names = []
    sets: dict[str, dict[str, list[pathlib.Path]]] = {}
    others = []
    for name in names:
        match = _NAME.fullmatch(name)
        key = _key(match) if match else None
        if match and key and (folder / name).is_file():
            sets.setdefault(match["prefix"], {}).setdefault(key, []).append(folder / name)
        elif _ANY.fullmatch(name):
            others.append(name)
    return sets, others


def _key(match: re.Match) -> str | None:
    what = "images" if match["what"].lower().startswith("image") else "labels"
    split = "train" if match["split"].lower() == "train" else "test"
    return f"{split}_{what}" if match["rank"] == {"images": "3", "labels": "1"}[what] else None


def _ranks(prefix: str, key: str):
    """A key of sorting: published names first, packed before plain, then other spellings."""
    published = [f"{prefix}{FILES[key]}.gz", f"{prefix}{FILES[key]}"]

    def rank(path: pathlib.Path) -> tuple[int, str]:
        is_published = path.name in published
        return published.index(path.name) if is_published else len(published), path.name

    return rank


def _shown(sets) -> str:
    return listed(repr(_bare(prefix)) for prefix in sets) or "none"


def _bare(prefix: str) -> str:
    return prefix.rstrip("-_.")
