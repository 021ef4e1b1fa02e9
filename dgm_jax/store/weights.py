"""Trained arrays as a safetensors file, with a manifest that says what the file holds.

    NAME.safetensors   the leaves of a tree under their paths (`params/generator/Dense_0/kernel`)
    NAME.json          the format's version, the file's name, size and SHA-256; dtype, shape and
                       SHA-256 of each leaf; and `about`, which model they belong to

Reading executes nothing that a file says. The manifest is first compared with the structure that
the program expects, so that no larger file is opened, and then the file with the manifest. Typed
keys are stored as their data.
"""

import hashlib
import os
import pathlib
import stat
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from dgm_jax.core import ConfigError, PyTree, RunDirectoryError, is_key, json_values, require
from dgm_jax.store import records
from dgm_jax.store.leaves import (
    PathLike,
    assembled,
    describe,
    kind_of,
    named_leaves,
    refuse,
    require_same,
    stored_shape,
)

FORMAT = 1
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
MAX_HEADER_BYTES = 16 * 1024 * 1024
_FIELDS = {"format": int, "file": str, "bytes": int, "sha256": str, "arrays": dict, "about": dict}
_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "BF16": "bfloat16",
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
}


class Manifest(NamedTuple):
    """A manifest whose fields have the right types; its file has not been looked at yet.

    Attributes:
        path: of the manifest.
        file: name of the weights' file.
        bytes: its size.
        sha256: its hash.
        arrays: {leaf: {"dtype", "shape", "sha256"}}.
        about: what the writer noted.
    """

    path: pathlib.Path
    file: str
    bytes: int
    sha256: str
    arrays: dict[str, Any]
    about: dict[str, Any]


def write_weights(folder: PathLike, name: str, tree: PyTree, about: Mapping[str, Any]) -> None:
    """Write a tree of arrays as NAME.safetensors and NAME.json.

    A process may be killed at any moment: the manifest then belongs to a complete file, the old or
    the new one. While an old pair is replaced, its file is called NAME.before.safetensors.

    Args:
        folder: where the files are written.
        name: NAME.
        tree: the arrays.
        about: a note for the manifest, such as which model they belong to.

    Raises:
        ConfigError: if two leaves have one path, or a leaf has a dtype that the format lacks.
    """
    root = pathlib.Path(folder)
    leaves = named_leaves(tree)
    arrays = {path: _stored(path, leaf) for path, leaf in leaves.items()}
    content = safetensors.numpy.save(arrays)
    plain, before = _files_of(name)
    entries = {}
    for path, array in arrays.items():
        entry = describe(leaves[path])
        entries[path] = {**entry, "sha256": _sha256(array)}
    manifest = {
        "format": FORMAT,
        "file": plain,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "about": dict(about),
        "arrays": entries,
    }
    _keep_before(root, name)
    records.write_atomically(root / plain, content)
    _write_manifest(root, name, manifest)
    (root / before).unlink(missing_ok=True)


def read_manifest(folder: PathLike, name: str) -> Manifest:
    """Read NAME.json.

    Args:
        folder: where it is.
        name: NAME.

    Returns:
        The manifest.

    Raises:
        RunDirectoryError: if it is missing, not a regular file, outside of the folder, too large,
            damaged or of another version of the format.
    """
    path = pathlib.Path(folder) / f"{name}.json"
    content = _read(path, MAX_MANIFEST_BYTES)
    try:
        fields = json_values.loads(content)
    except ValueError as error:
        raise RunDirectoryError(f"{path}: cannot be read as JSON: {error}") from error
    is_object = isinstance(fields, dict)
    refuse(not is_object, path, f"expected a JSON object, got {kind_of(fields)}")
    version = fields.get("format")
    refuse(version != FORMAT, path, f"its format is {version!r}, and this program reads {FORMAT}")
    for field, kind in _FIELDS.items():
        value = fields.get(field)
        fits = isinstance(value, kind) and not isinstance(value, bool)
        reason = f"{field} must be a {kind.__name__}, got {kind_of(value)}"
        refuse(not fits, path, reason)
    file = fields["file"]
    allowed = _files_of(name)
    reason = f"its file must be {' or '.join(allowed)}, got {file[:100]!r}"
    refuse(file not in allowed, path, reason)
    values = {field: fields[field] for field in _FIELDS if field != "format"}
    return Manifest(path, **values)


def read_weights(manifest: Manifest, like: PyTree) -> PyTree:
    """Read the arrays of a manifest's file.

    Args:
        manifest: the manifest.
        like: arrays or shapes; the names, shapes and dtypes of its leaves are those that the file
            must have.

    Returns:
        The arrays on the default device, in the structure of `like`.

    Raises:
        RunDirectoryError: if manifest and `like`, or file and manifest, do not fit together.
    """
    expected = named_leaves(like)
    path = manifest.path.with_name(manifest.file)
    require_same(manifest.arrays, expected, manifest.path)
    stored = {name: stored_shape(leaf) for name, leaf in expected.items()}
    num_bytes = sum(shape.size * shape.dtype.itemsize for shape in stored.values())
    fits = num_bytes <= manifest.bytes <= num_bytes + MAX_HEADER_BYTES
    reason = (
        f"it claims {manifest.bytes} bytes of {path.name}, and its arrays are {num_bytes} bytes"
    )
    refuse(not fits, manifest.path, reason)
    arrays = dict(_parsed(path, _verified(manifest, path)))
    described = {name: describe(array) for name, array in arrays.items()}
    require_same(described, stored, path)
    for name, array in arrays.items():
        digest = _sha256(array)
        claimed = manifest.arrays[name].get("sha256")
        reason = f"{name}: the SHA-256 of its array is {digest}, and the manifest says {claimed!r}"
        refuse(digest != claimed, path, reason)
    return assembled(arrays, like)


def _verified(manifest: Manifest, path: pathlib.Path) -> bytes:
    """The bytes of a manifest's file, after a check of their number and their hash."""
    name = manifest.path.name
    content = _read(path, manifest.bytes)
    num_bytes = len(content)
    reason = f"expected {manifest.bytes} bytes, as {name} says, got {num_bytes}"
    refuse(num_bytes != manifest.bytes, path, reason)
    digest = hashlib.sha256(content).hexdigest()
    reason = f"its SHA-256 is {digest}, and {name} says {manifest.sha256}"
    refuse(digest != manifest.sha256, path, reason)
    return content


def _files_of(name: str) -> tuple[str, str]:
    """Names of the weights' file, and of the old one while it is replaced."""
    return f"{name}.safetensors", f"{name}.before.safetensors"


def _keep_before(folder: pathlib.Path, name: str) -> None:
    """Keep the file of a sound manifest, if there is one, under its other name."""
    plain, before = _files_of(name)
    path = folder / f"{name}.json"
    try:
        manifest = json_values.loads(path.read_bytes()) if path.is_file() else {}
    except (OSError, ValueError):
        return
    if not isinstance(manifest, dict) or manifest.get("file") != plain:
        return
    source = folder / plain
    target = folder / before
    if not source.is_file():
        return
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        records.write_atomically(target, source.read_bytes())
    _write_manifest(folder, name, {**manifest, "file": before})


def _write_manifest(folder: pathlib.Path, name: str, manifest: dict[str, Any]) -> None:
    text = json_values.dumps(manifest, indent=2)
    require(len(text) <= MAX_MANIFEST_BYTES, f"the manifest of {name} is too large")
    records.write_atomically(folder / f"{name}.json", text)


def _read(path: pathlib.Path, most: int) -> bytes:
    """The bytes of a regular file inside its folder, at most `most`; does not wait for a pipe."""
    records.contained(path.parent, path)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            is_regular = stat.S_ISREG(status.st_mode)
            refuse(not is_regular, path, "it is no regular file")
            reason = f"expected at most {most} bytes, got {status.st_size}"
            refuse(status.st_size > most, path, reason)
            return file.read(most + 1)
    except OSError as error:
        raise RunDirectoryError(f"{path}: {error.strerror or error}") from error


def _parsed(path: pathlib.Path, content: bytes) -> Iterator[tuple[str, np.ndarray]]:
    try:
        entries = safetensors.deserialize(content)
    except (safetensors.SafetensorError, ValueError) as error:
        raise RunDirectoryError(f"{path}: no safetensors file: {error}") from error
    for name, entry in entries:
        dtype = entry["dtype"]
        kind = _DTYPES.get(dtype)
        refuse(kind is None, path, f"{name}: a dtype {dtype} is in no model")
        try:
            numbers = np.frombuffer(entry["data"], jnp.dtype(kind))
            array = numbers.reshape(entry["shape"])
        except ValueError as error:  # more axes than NumPy has, for one
            raise RunDirectoryError(f"{path}: {name} is no array: {error}") from error
        yield name, array


def _stored(path: str, leaf: Any) -> np.ndarray:
    """A leaf as it is written to the file."""
    if is_key(leaf):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(jax.device_get(leaf))
    is_known = str(array.dtype) in _DTYPES.values()
    reason = f"{path}: arrays of {array.dtype} cannot be written as safetensors"
    require(is_known, reason, ConfigError)
    return np.asarray(array, order="C")


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()
