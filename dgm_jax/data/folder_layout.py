"""Which image files of a folder belong to which split and class, and what else lies there.

PATH/cat/1.png                        one subfolder a class, with all that lies below it
PATH/1.png                            one class, "all"
PATH/train/..., PATH/test/...         either of these in each split; also val and validation
"""

import dataclasses
import os
import pathlib
import unicodedata
from collections import Counter
from typing import NamedTuple

from dgm_jax.core import DataError, require
from dgm_jax.data.paths import counted, listed

SUFFIXES = tuple(
    ".png .apng .jpg .jpeg .jpe .jfif .bmp .gif .webp .tif .tiff .ppm .pgm .pbm .pnm".split()
)
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
MAX_FILES = 2**22
ONE_CLASS = "all"

Files = list[tuple[str, pathlib.Path]]


class Layout(NamedTuple):
    """splits: `{"train": [(class, path), ...]}`, perhaps with "test", in the order of names.
    bases: the folder of each. notes: what was left out, and why."""

    splits: dict[str, Files]
    bases: dict[str, pathlib.Path]
    notes: tuple[str, ...]


@dataclasses.dataclass
class Tally:
    """What was seen below `root` and is no image that is read."""

    root: pathlib.Path
    follow_no_links: bool  # leave links to folders out, where they are else refused
    entries: int = 0
    hidden: int = 0
    links: int = 0
    endings: Counter = dataclasses.field(default_factory=Counter)
    notes: list[str] = dataclasses.field(default_factory=list)

    def all_notes(self) -> tuple[str, ...]:
        """The notes, and the counts of what was left out in words."""
        counts = (
            (self.hidden, f"{self.hidden} hidden images or folders not read"),
            (self.links, f"{self.links} links to folders not followed"),
            (len(self.endings), f"files of other endings not read: {counted(self.endings)}"),
        )
        return (*self.notes, *(text for number, text in counts if number))

    def relative(self, path: pathlib.Path) -> str:
        """The path below `root`, as notes name it."""
        return path.relative_to(self.root).as_posix()


def find(root: pathlib.Path, *, skip_links: bool = False) -> Layout:
    """The layout of `root`; `DataError` where it could mean two things."""
    tally = Tally(root, skip_links)
    folders, images = _scan(root, tally)
    by_split = _by_split(folders)
    alone = len(folders) == 1 and not images
    if "train" in by_split and (len(by_split) > 1 or alone):
        bases = _split_bases(root, by_split)
        _note_what_is_beside(tally, folders, images, bases)
    else:
        _require_no_lone_split(root, by_split, folders)
        bases = {"train": root}
    splits = {}
    for split, base in bases.items():
        inner = (folders, images) if base == root else _scan(base, tally)
        splits[split] = _classes(base, *inner, tally)
    for split, files in splits.items():
        require(
            bool(files),
            f"{bases[split]}: no image files ({', '.join(SUFFIXES)}) in it or its subfolders"
            + (f"; it has {counted(tally.endings)}" if tally.endings else ""),
            DataError,
        )
    flat = [split for split, files in splits.items() if {kind for kind, _ in files} == {ONE_CLASS}]
    require(
        len(flat) in (0, len(splits)),
        f"{root}: class subfolders in one split, none in {' '.join(str(bases[s]) for s in flat)},"
        " so labels in one only; sort both splits into class subfolders, or neither",
        DataError,
    )
    return Layout(splits, bases, tally.all_notes())


def _by_split(folders: list[pathlib.Path]) -> dict[str, list[pathlib.Path]]:
    found: dict[str, list[pathlib.Path]] = {}
    for path in folders:
        role = SPLITS.get(path.name.lower())
        if role:
            found.setdefault(role, []).append(path)
    return found


def _split_bases(root: pathlib.Path, by_split) -> dict[str, pathlib.Path]:
    used = {"train": "train", "test": "test" if "test" in by_split else "validation"}
    bases = {}
    for split, role in used.items():
        paths = by_split.get(role, [])
        require(
            len(paths) <= 1,
            f"{root}: {' and '.join(p.name for p in paths)} would both be the {split} split;"
            " keep one of them",
            DataError,
        )
        if paths:
            bases[split] = paths[0]
    return bases


def _require_no_lone_split(root: pathlib.Path, by_split, folders) -> None:
    lone = [path for role in ("test", "validation") for path in by_split.get(role, [])]
    if not lone:
        return
    names = " and ".join(path.name for path in lone)
    advice = (
        f"give folder:{lone[0]} to read it as one set"
        if len(folders) == len(lone)
        else f"move the other folders into {root / 'train'}, or rename {names} if it is a class"
    )
    raise DataError(f"{root}: {names} looks like a split, but there is no train folder; {advice}")


def _note_what_is_beside(tally: Tally, folders, images, bases) -> None:
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
            number = len(_below(path, tally))
            tally.notes.append(f"{listed([path.name])} not read ({number} images)")


def _classes(base: pathlib.Path, folders, images, tally: Tally) -> Files:
    """(class, path) of every image below `base`, in the order of classes and names."""
    found: dict[str, tuple[pathlib.Path, list[pathlib.Path]]] = {}
    for path in folders:
        name = _class_name(path)
        require(
            name not in found,
            f"{base}: two folders are called {name} (in different Unicode forms); join them",
            DataError,
        )
        found[name] = path, _below(path, tally)
    empty = [tally.relative(path) for path, files in found.values() if not files]
    found = {name: entry for name, entry in found.items() if entry[1]}
    if found and images:
        raise DataError(
            f"{base}: images both in class subfolders and beside them ({images[0].name}); "
            "keep one arrangement"
        )
    if len(found) == 1:
        _require_no_wrapper(base, *next(iter(found.values())))
    for path, files in found.values():
        _require_no_inner_splits(path)
        inner = {f.parent for f in files} - {path}
        if inner:
            number = sum(f.parent != path for f in files)
            names = listed(tally.relative(p) for p in inner)
            tally.notes.append(f"{number} images of {listed([path.name])} from {names}")
    if empty:
        tally.notes.append(f"no images in {listed(empty)}, so no class of that name")
    classed = [(name, path) for name in sorted(found) for path in found[name][1]]
    return classed or [(ONE_CLASS, path) for path in images]


def _require_no_wrapper(base: pathlib.Path, path: pathlib.Path, files) -> None:
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


def _below(folder: pathlib.Path, tally: Tally) -> list[pathlib.Path]:
    """All images below a folder, its own first."""
    files, waiting = [], [folder]
    while waiting:
        folders, images = _scan(waiting.pop(), tally)
        files += images
        waiting += reversed(folders)
    return files


def _scan(folder: pathlib.Path, tally: Tally) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """Subfolders and image files of one folder, by name; the rest is counted."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {error.strerror}") from error
    tally.entries += len(found)
    require(
        tally.entries <= MAX_FILES,
        f"{tally.root}: more than {MAX_FILES} files and folders; give a part of them",
        DataError,
    )
    folders, images = [], []
    for entry in found:
        path = folder / entry.name
        ending = path.suffix.lower()
        is_link = entry.is_symlink() and os.path.isdir(path)
        is_folder = is_link or entry.is_dir(follow_symlinks=False)
        if entry.name.startswith("."):
            tally.hidden += is_folder or ending in SUFFIXES
        elif is_link:
            _leave_out_link(path, tally)
        elif is_folder:
            folders.append(path)
        elif ending in SUFFIXES:
            images.append(path)
        else:
            tally.endings[ending or "none"] += 1
    return folders, images


def _leave_out_link(path: pathlib.Path, tally: Tally) -> None:
    require(
        tally.follow_no_links,
        f"{path}: a link to a folder, which is not followed; copy that folder here, or"
        " leave the link out by the option bad_files='skip'",
        DataError,
    )
    tally.links += 1


def _class_name(path: pathlib.Path) -> str:
    """The name in composed form, in which macOS's and Linux's spellings are equal."""
    unfit = [c for c in path.name if unicodedata.category(c) in ("Cc", "Cs")]
    require(
        not unfit,
        f"{ascii(str(path))[1:-1]}: the name of a class has control characters or is not UTF-8;"
        " rename it",
        DataError,
    )
    return unicodedata.normalize("NFC", path.name)
