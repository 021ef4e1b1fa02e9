"""Image files and subfolders of a folder, and a count of what else it contains."""

import dataclasses
import os
import pathlib
from collections import Counter

from dgm_jax.core import DataError, require
from dgm_jax.data.paths import counted

SUFFIXES = tuple(
    ".png .apng .jpg .jpeg .jpe .jfif .bmp .gif .webp .tif .tiff .ppm .pgm .pbm .pnm".split()
)
MAX_FILES = 2**22


@dataclasses.dataclass
class Tally:
    """What was met below `root` and is not an image to be read.

    Attributes:
        root: the folder.
        follow_no_links: leave links to folders out; otherwise they are an error.
        entries: number of files and folders.
        hidden: number of hidden images and folders.
        links: number of links left out.
        endings: how often each other ending occurs.
        notes: further notes.
    """

    root: pathlib.Path
    follow_no_links: bool
    entries: int = 0
    hidden: int = 0
    links: int = 0
    endings: Counter = dataclasses.field(default_factory=Counter)
    notes: list[str] = dataclasses.field(default_factory=list)

    def all_notes(self) -> tuple[str, ...]:
        """The notes, followed by the counts in words."""
        notes = list(self.notes)
        if self.hidden:
            notes.append(f"{self.hidden} hidden images or folders not read")
        if self.links:
            notes.append(f"{self.links} links to folders not followed")
        if self.endings:
            notes.append(f"files of other endings not read: {counted(self.endings)}")
        return tuple(notes)

    def relative(self, path: pathlib.Path) -> str:
        """Name a path in notes.

        Args:
            path: below `root`.

        Returns:
            The path relative to `root`.
        """
        return path.relative_to(self.root).as_posix()


def below(folder: pathlib.Path, tally: Tally) -> list[pathlib.Path]:
    """Find all images below a folder, those directly in it first.

    Args:
        folder: the folder.
        tally: counts what is not an image.

    Returns:
        Paths of the images.

    Raises:
        DataError: as `scan`.
    """
    files = []
    to_scan = [folder]
    while to_scan:
        folders, images = scan(to_scan.pop(), tally)
        files += images
        to_scan += reversed(folders)
    return files


def scan(folder: pathlib.Path, tally: Tally) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """Find the subfolders and image files of one folder, in the order of names.

    Args:
        folder: the folder.
        tally: counts everything else.

    Returns:
        Subfolders and images.

    Raises:
        DataError: for a folder that cannot be listed, too many files, or a link to a folder.
    """
    try:
        with os.scandir(folder) as entries:
            by_name = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {error.strerror}") from error
    tally.entries += len(by_name)
    require(
        tally.entries <= MAX_FILES,
        f"{tally.root}: more than {MAX_FILES} files and folders; give a part of them",
        DataError,
    )
    folders = []
    images = []
    for entry in by_name:
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
