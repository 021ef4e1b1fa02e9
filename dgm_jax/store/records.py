"""Files of a run folder that are either old or new, never half written.

A file appears under its name only when all of its bytes are on the disk.
"""

import hashlib
import os
import pathlib
import re
import secrets
from typing import Any

from dgm_jax.core import RunDirectoryError, json_values

MAX_JSON_BYTES = 256 * 1024 * 1024
_ALLOWED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,+-]{0,99}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Args:
        path: the file.

    Returns:
        The object.

    Raises:
        RunDirectoryError: if the file is damaged, or holds anything else; the message names it.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"larger than {MAX_JSON_BYTES} bytes")
        value = json_values.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise RunDirectoryError(f"{path}: expected a JSON object, found a {kind}")
    return value


def write_atomically(path: pathlib.Path, content: bytes | str) -> None:
    """Write a file so that a reader, or a machine that loses power, sees the old or the new bytes.

    A temporary file in the same folder is written, flushed to the disk and renamed; then the folder
    is flushed.

    Args:
        path: the file.
        content: its new bytes, or a text.

    Raises:
        OSError: if it cannot be written; the old file is unchanged.
    """
    data = content.encode() if isinstance(content, str) else content
    token = secrets.token_hex(8)
    temporary = path.with_name(f".{path.name}.{token}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    descriptor = os.open(temporary, flags, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: pathlib.Path) -> None:
    """Flush a folder's list of names to the disk, if the system can open a folder.

    Args:
        folder: the folder.
    """
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def split_lines(content: bytes) -> list[tuple[bytes, dict[str, Any] | None]]:
    """Split a JSON-lines file into its complete lines.

    The last line is dropped if a crash has cut it short: no newline at its end, or no JSON in it.

    Args:
        content: of the file.

    Returns:
        (line, row) of every line; the row is None for a line that is not a JSON object.
    """
    *complete, _ = content.split(b"\n")
    lines = [(line + b"\n", _row(line)) for line in complete]
    if lines:
        _, last_row = lines[-1]
        if last_row is None:
            lines.pop()
    return lines


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json_values.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def set_aside(path: pathlib.Path) -> pathlib.Path:
    """Rename what is at a path (a file, a folder, a link) to the next free name of `aside`.

    Args:
        path: the path.

    Returns:
        The new path.
    """
    target = aside(path)
    path.rename(target)
    sync_folder(path.parent)
    return target


def aside(path: pathlib.Path) -> pathlib.Path:
    """Find the next free name for a damaged file.

    Args:
        path: the file.

    Returns:
        Such as metrics.damaged.jsonl, metrics.damaged-1.jsonl, ...
    """
    target = path.with_name(f"{path.stem}.damaged{path.suffix}")
    number = 0
    while os.path.lexists(target):
        number += 1
        target = path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")
    return target


def safe_name(name: str) -> str:
    """Make a file name of letters, digits and `. _ = , + -`; different texts give different names.

    A name that is safe already is returned unchanged. In any other every unsafe character becomes
    `_`, and the first eight hex digits of its SHA-256 are appended, so that `a/b` and `a b` do not
    overwrite each other.

    Args:
        name: any text.

    Returns:
        The file name, without an ending.
    """
    name = str(name)
    is_allowed = _ALLOWED_NAME.fullmatch(name) and not name.endswith(".")
    if is_allowed and not _RESERVED.fullmatch(name):
        return name
    content = name.encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(content).hexdigest()
    replaced = re.sub(r"[^A-Za-z0-9_=,+-]+", "_", name)
    kept = replaced.strip("_-")[:80] or "name"
    return f"{kept}-{digest[:8]}"


def contained(root: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
    """Check that a path stays inside a folder.

    Args:
        root: the folder.
        path: the path.

    Returns:
        The path.

    Raises:
        RunDirectoryError: if links or `..` lead out of the folder, or links lead nowhere.
    """
    try:
        resolved = path.resolve()
        is_inside = resolved.is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:  # Python before 3.13 raises the second for a loop
        raise RunDirectoryError(f"{path}: its links cannot be followed: {error}") from error
    if not is_inside:
        raise RunDirectoryError(f"{path} lies outside the run folder {root}")
    return path
