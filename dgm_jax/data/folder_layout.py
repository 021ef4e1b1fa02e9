"""Which image files of a folder belong to which split and class, and what else it contains.

PATH/cat/1.png                        one subfolder per class, with everything below it
PATH/1.png                            one class, "all"
PATH/train/..., PATH/test/...         either of these in each split; also val and validation
"""

import os
import pathlib
import unicodedata
from typing import NamedTuple

from dgm_jax.core import DataError, require
from dgm_jax.data.folder_scan import SUFFIXES, Tally, below, scan
from dgm_jax.data.paths import counted, listed

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
ONE_CLASS = "all"

Files = list[tuple[str, pathlib.Path]]


class Layout(NamedTuple):
    """The image files of a folder.

    Attributes:
        splits: `{"train": [(class, path), ...]}`, perhaps with "test", in the order of names.
        bases: the folder of each split.
        notes: what was left out, and why.
    """

    splits: dict[str, Files]
    bases: dict[str, pathlib.Path]
    notes: tuple[str, ...]


def find(root: pathlib.Path, *, skip_links: bool = False) -> Layout:
    """Find the splits, classes and image files of a folder.

    Args:
        root: the folder.
        skip_links: leave links to folders out instead of refusing them.

    Returns:
        The layout.

    Raises:
        DataError: if the folder is ambiguous, holds no images, or is too large.
    """
    tally = Tally(root, skip_links)
    folders, images = scan(root, tally)
    by_split = _by_split(folders)
    is_only_folder = len(folders) == 1 and not images
    if "train" in by_split and (len(by_split) > 1 or is_only_folder):
        bases = _split_bases(root, by_split)
        _note_unread(tally, folders, images, bases)
    else:
        _require_no_lone_split(root, by_split, folders)
        bases = {"train": root}
    splits = {}
    for split, base in bases.items():
        subfolders, files = (folders, images) if base == root else scan(base, tally)
        splits[split] = _classes(base, subfolders, files, tally)
    _require_files_in_both(root, splits, bases, tally)
    return Layout(splits, bases, tally.all_notes())


def _require_files_in_both(
    root: pathlib.Path,
    splits: dict[str, Files],
    bases: dict[str, pathlib.Path],
    tally: Tally,
) -> None:
    """Refuse a split without images, and classes in one split only."""
    for split, files in splits.items():
        other_files = f"; it has {counted(tally.endings)}" if tally.endings else ""
        require(
            bool(files),
            f"{bases[split]}: no image files ({', '.join(SUFFIXES)}) in it or its subfolders"
            f"{other_files}",
            DataError,
        )
    flat = [split for split, files in splits.items() if {kind for kind, _ in files} == {ONE_CLASS}]
    require(
        len(flat) in (0, len(splits)),
        f"{root}: class subfolders in one split, none in {' '.join(str(bases[s]) for s in flat)},"
        " so labels in one only; sort both splits into class subfolders, or neither",
        DataError,
    )


def _by_split(folders: list[pathlib.Path]) -> dict[str, list[pathlib.Path]]:
    """{split: folders that are called so}."""
    by_split: dict[str, list[pathlib.Path]] = {}
    for path in folders:
        role = SPLITS.get(path.name.lower())
        if role:
            by_split.setdefault(role, []).append(path)
    return by_split


def _split_bases(
    root: pathlib.Path, by_split: dict[str, list[pathlib.Path]]
) -> dict[str, pathlib.Path]:
    """The folder of the training and of the test split."""
    roles = {"train": "train", "test": "test" if "test" in by_split else "validation"}
    bases = {}
    for split, role in roles.items():
        paths = by_split.get(role, [])
        names = " and ".join(path.name for path in paths)
        require(
            len(paths) <= 1,
            f"{root}: {names} would both be the {split} split; keep one of them",
            DataError,
        )
        if paths:
            bases[split] = paths[0]
    return bases


def _require_no_lone_split(
    root: pathlib.Path,
    by_split: dict[str, list[pathlib.Path]],
    folders: list[pathlib.Path],
) -> None:
    """Refuse a folder that looks like a test split, but has no train folder next to it."""
    lone = [path for role in ("test", "validation") for path in by_split.get(role, [])]
    if not lone:
        return
    names = " and ".join(path.name for path in lone)
    if len(folders) == len(lone):
        advice = f"give folder:{lone[0]} to read it as one set"
    else:
        advice = f"move the other folders into {root / 'train'}, or rename {names} if it is a class"
    raise DataError(f"{root}: {names} looks like a split, but there is no train folder; {advice}")


def _note_unread(
    tally: Tally,
    folders: list[pathlib.Path],
    images: list[pathlib.Path],
    bases: dict[str, pathlib.Path],
) -> None:
    """Note which folder is the test split, and what next to the splits is not read."""
    test = bases.get("test")
    if test is None:
        tally.notes.append(f"{bases['train'].name} is the only split in the folder")
    elif SPLITS[test.name.lower()] == "validation":
        tally.notes.append(f"{test.name} is the test split")
    if images:
        names = listed(p.name for p in images)
        tally.notes.append(f"images beside the splits not read: {names}")
    for path in folders:
        if path not in bases.values():
            number = len(below(path, tally))
            tally.notes.append(f"{listed([path.name])} not read ({number} images)")


def _classes(
    base: pathlib.Path,
    folders: list[pathlib.Path],
    images: list[pathlib.Path],
    tally: Tally,
) -> Files:
    """(class, path) of every image below `base`, in the order of classes and names."""
    classes: dict[str, tuple[pathlib.Path, list[pathlib.Path]]] = {}
    for path in folders:
        name = _class_name(path)
        require(
            name not in classes,
            f"{base}: two folders are called {name} (in different Unicode forms); join them",
            DataError,
        )
        classes[name] = (path, below(path, tally))
    empty = [tally.relative(path) for path, files in classes.values() if not files]
    classes = {name: entry for name, entry in classes.items() if entry[1]}
    if classes and images:
        raise DataError(
            f"{base}: images both in class subfolders and beside them ({images[0].name}); "
            "keep one arrangement"
        )
    if len(classes) == 1:
        _require_no_wrapper(base, *next(iter(classes.values())))
    for path, files in classes.values():
        _require_no_inner_splits(path)
        nested = [file for file in files if file.parent != path]
        if nested:
            names = listed({tally.relative(file.parent) for file in nested})
            tally.notes.append(f"{len(nested)} images of {listed([path.name])} from {names}")
    if empty:
        tally.notes.append(f"no images in {listed(empty)}, so no class of that name")
    if not classes:
        return [(ONE_CLASS, path) for path in images]
    return [(name, path) for name in sorted(classes) for path in classes[name][1]]


def _require_no_wrapper(base: pathlib.Path, path: pathlib.Path, files: list[pathlib.Path]) -> None:
    """Refuse a single folder with several subfolders, which may be classes or splits themselves."""
    parts = {f.relative_to(path).parts[0] for f in files if f.parent != path}
    require(
        len(parts) < 2 or any(f.parent == path for f in files),
        f"{base}: its only folder with images is {path.name}, in which they lie in"
        f" {listed(parts)}; if these are splits or classes, give folder:{path}; if they are parts"
        f" of one class, move the images into {path}",
        DataError,
    )


def _require_no_inner_splits(path: pathlib.Path) -> None:
    inner = (name.lower() for name in os.listdir(path) if (path / name).is_dir())
    roles = {SPLITS[name] for name in inner if name in SPLITS}
    require(
        not ("train" in roles and len(roles) > 1),
        f"{path}: splits within a class; expected train/{path.name} and test/{path.name}",
        DataError,
    )


def _class_name(path: pathlib.Path) -> str:
    """The name in composed Unicode form, in which spellings of macOS and Linux are equal."""
    unprintable = [c for c in path.name if unicodedata.category(c) in ("Cc", "Cs")]
    require(
        not unprintable,
        f"{ascii(str(path))[1:-1]}: the name of a class has control characters or is not UTF-8;"
        " rename it",
        DataError,
    )
    return unicodedata.normalize("NFC", path.name)
