"""Checks of paths that users give: a clear error if they are not the expected kind of file."""

import os
import pathlib
import stat
from collections import Counter
from collections.abc import Iterable

from dgm_jax.core import DataError

PathLike = str | os.PathLike[str]

SHOWN_NAMES = 10
SHOWN_LETTERS = 60
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def regular_file(path: PathLike) -> os.stat_result:
    """Check that a path leads to a regular file.

    Nothing is opened: opening a pipe would wait for a writer.

    Args:
        path: the file; links are followed.

    Returns:
        Its status.

    Raises:
        DataError: if there is no file, or something else.
    """
    status = _stat(path)
    for is_kind, kind in _KINDS:
        if is_kind(status.st_mode):
            raise DataError(f"{path}: {kind}, expected a file")
    return status


def folder(path: PathLike) -> pathlib.Path:
    """Check that a path leads to a folder.

    Args:
        path: the folder; links are followed.

    Returns:
        The path.

    Raises:
        DataError: if there is no folder, or something else.
    """
    root = pathlib.Path(path)
    if not stat.S_ISDIR(_stat(root, "folder").st_mode):
        raise DataError(f"{root}: a file, expected a folder")
    return root


def listed(names: Iterable[str]) -> str:
    """List up to ten names on one line, sorted; long ones are cut, unprintable ones escaped.

    Args:
        names: the names.

    Returns:
        Such as "a, b and 3 more".
    """
    in_order = sorted(names)
    shown = [n if n.isprintable() else ascii(n)[1:-1] for n in in_order[:SHOWN_NAMES]]
    short = [n if len(n) <= SHOWN_LETTERS else f"{n[:SHOWN_LETTERS]}..." for n in shown]
    num_more = len(in_order) - len(short)
    more = f" and {num_more} more" if num_more else ""
    return ", ".join(short) + more


def counted(counts: Counter) -> str:
    """List counts, the most frequent first, such as `.heic 3, .txt 1`.

    Args:
        counts: how often each name occurs.

    Returns:
        Up to ten names with their counts.
    """
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))[:SHOWN_NAMES]
    shown = [f"{listed([name])} {count}" for name, count in rows]
    num_more = len(counts) - len(rows)
    if num_more:
        shown.append(f"{num_more} others")
    return ", ".join(shown)


def _stat(path: PathLike, kind: str = "file") -> os.stat_result:
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{path}: no such {kind}") from error
    except (OSError, ValueError) as error:  # too long, a link to itself, no permission
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be opened: {reason}") from error
