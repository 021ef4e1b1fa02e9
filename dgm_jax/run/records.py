"""Strict JSON and files that are either old or new, never half.

Everything a run folder holds goes through here: arrays become lists, NaN and infinities become null
(JSON has no word for them), and a file appears under its name only when all of its bytes are on the
disk.
"""

import dataclasses
import datetime
import enum
import hashlib
import json
import math
import os
import pathlib
import re
import secrets
from typing import Any

import numpy as np

from dgm_jax.core import ConfigError, RunDirectoryError

MAX_JSON_BYTES = 256 * 1024 * 1024
_ALLOWED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,+-]{0,99}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def plain(value: Any, where: str = "value") -> Any:
    """`value` as what JSON knows: dict, list, str, int, float, bool, None.

    NumPy and JAX arrays become (nested) lists, dataclasses and NamedTuples dicts, paths strings,
    dates ISO 8601; non-finite floats become None. Anything else raises `ConfigError` naming `where`
    it stands.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, enum.Enum):
        return plain(value.value, where)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): plain(v, f"{where}.{k}") for k, v in value.items()}
    if hasattr(value, "_asdict"):
        return plain(value._asdict(), where)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: plain(getattr(value, f.name), f"{where}.{f.name}")
            for f in dataclasses.fields(value)
        }
    if isinstance(value, (list, tuple)):
        return [plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(v, where) for v in value), key=str)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    return _plain_array(value, where)


def _plain_array(value, where):
    """An array (NumPy, JAX or a scalar of theirs) as nested lists of Python numbers."""
    if hasattr(value, "__array__"):
        try:
            array = np.asarray(value)
        except TypeError:  # a typed key of JAX refuses to become numbers
            array = np.empty(0, object)
        if array.dtype.kind in "biu" or array.dtype.kind == "U":
            return array.tolist()
        # bfloat16 and its kin have kind V
        if array.dtype.kind == "f" or "float" in array.dtype.name:
            array = array.astype(np.float64)
            null: Any = None  # NumPy's stubs know no arrays of objects
            return np.where(np.isfinite(array), array.astype(object), null).tolist()
    raise ConfigError(f"{where}: a {type(value).__name__} cannot be written as JSON")


def dumps(value: Any, indent: int | None = None) -> str:
    """Strict JSON text of `plain(value)`: ASCII only, no NaN, one line unless `indent` is given."""
    return json.dumps(plain(value), allow_nan=False, ensure_ascii=True, indent=indent)


def _no_constant(name):
    raise ValueError(f"{name} is not JSON")


def loads(text: str | bytes) -> Any:
    """Parses strict JSON; bare NaN and Infinity, and nesting deeper than Python can follow, raise
    `ValueError`."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_json(path: pathlib.Path) -> dict:
    """The JSON object in a file; `RunDirectoryError` naming the file where it is damaged or holds
    no object."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"larger than {MAX_JSON_BYTES} bytes")
        value = loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise RunDirectoryError(f"{path}: expected a JSON object, found a {type(value).__name__}")
    return value


def write_atomically(path: pathlib.Path, content: bytes | str) -> None:
    """Writes a file so that a reader, or a machine that loses power, sees the old bytes or the new
    ones.

    A temporary file in the same folder is written, flushed to the disk and renamed; then the folder
    is flushed.
    """
    content = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: pathlib.Path) -> None:
    """Flushes a folder's list of names to the disk, where the system can open a folder at all."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def split_rows(content: bytes, source: str) -> list[tuple[bytes, dict]]:
    """(line, row) of every complete line of a JSON-lines file.

    The last line is dropped where a crash has torn it: no newline at its end, or no JSON in it. A
    damaged line in the middle cannot come from a crash and raises `RunDirectoryError` with its
    number.
    """
    lines = content.split(b"\n")[:-1]
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = loads(line)
            if not isinstance(row, dict):
                raise ValueError("not a JSON object")
        except ValueError as error:
            if number == len(lines):
                break
            raise RunDirectoryError(f"{source}, line {number}: damaged row: {error}") from error
        rows.append((line + b"\n", row))
    return rows


def safe_name(name: str) -> str:
    """A file name made of letters, digits and `. _ = , + -`, for any text; different texts give
    different names.

    A name that is fine already is returned as it is; in another one every other character becomes
    `_`, and the first eight hex digits of its SHA-256 are appended, so that `a/b` and `a b` do not
    overwrite each other.
    """
    name = str(name)
    if _ALLOWED_NAME.fullmatch(name) and not _RESERVED.fullmatch(name) and not name.endswith("."):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    kept = re.sub(r"[^A-Za-z0-9_=,+-]+", "_", name).strip("_-")[:80]
    return f"{kept or 'name'}-{digest}"


def contained(root: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
    """`path`, or `RunDirectoryError` where links or `..` lead it out of `root`."""
    if not path.resolve().is_relative_to(root.resolve()):
        raise RunDirectoryError(f"{path} lies outside the run folder {root}")
    return path
