"""Paths as people give them: what is no file or no folder is said, whatever else it is."""

import os
import pathlib
import stat
from collections import Counter
from collections.abc import Iterable

from dgm_jax.core import DataError

SHOWN_NAMES, SHOWN_LETTERS = 10, 60
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def regular_file(path) -> os.stat_result:
    """The state of a regular file, links followed; `DataError` for anything else at `path`.

    Nothing is opened: a pipe would wait for a writer.
    """
    found = _stat(path)
    for is_kind, kind in _KINDS:
        if is_kind(found.st_mode):
            raise DataError(f"{path}: {kind}, expected a file")
    return found


def folder(path) -> pathlib.Path:
    """`path`, after a `DataError` unless it is a folder."""
    path = pathlib.Path(path)
    if not stat.S_ISDIR(_stat(path, "folder").st_mode):
        raise DataError(f"{path}: a file, expected a folder")
    return path


def listed(names: Iterable[str]) -> str:
    """Up to ten names, in order, fit for one line: cut where long, escaped where not printable."""
    names = sorted(names)
    shown = [n if n.isprintable() else ascii(n)[1:-1] for n in names[:SHOWN_NAMES]]
    short = [n if len(n) <= SHOWN_LETTERS else f"{n[:SHOWN_LETTERS]}..." for n in shown]
    more = len(names) - len(short)
    return ", ".join(short) + (f" and {more} more" if more else "")


def counted(counts: Counter) -> str:
    """`.heic 3, .txt 1` of a counter of names, the most frequent first."""
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))[:SHOWN_NAMES]
    more = len(counts) - len(rows)
    return ", ".join(f"{listed([k])} {n}" for k, n in rows) + (f", {more} others" if more else "")


def _stat(path, kind: str = "file") -> os.stat_result:
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{path}: no such {kind}") from error
    except (OSError, ValueError) as error:  # too long, a link to itself, no permission
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be opened: {reason}") from error
