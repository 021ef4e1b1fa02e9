"""Trained arrays as a safetensors file, with a manifest beside it that says what the file holds.

    NAME.safetensors   the leaves of a tree under their paths (`params/generator/Dense_0/kernel`)
    NAME.json          the format's version, the file's name, size and SHA-256; dtype, shape and
                       SHA-256 of each leaf; and `about`, whose they are

Reading executes nothing that a file says. The manifest is held against the structure that the
program expects first, so that no file larger than that is opened, and the file against the manifest
then. Typed keys are stored as their data.
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

from dgm_jax.core import ConfigError, PyTree, RunDirectoryError, json_values, require
from dgm_jax.store import records

FORMAT = 1
MAX_MANIFEST_BYTES = MAX_HEADER_BYTES = 16 * 1024 * 1024
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
    """A manifest whose fields have the right types; nothing is known of its file yet.

    path: of the manifest. arrays: {leaf: {"dtype", "shape", "sha256"}}. about: what the writer
        said.
    """

    path: pathlib.Path
    file: str
    bytes: int
    sha256: str
    arrays: dict[str, Any]
    about: dict[str, Any]


def write_weights(folder, name: str, tree: PyTree, about: Mapping[str, Any]) -> None:
    """Writes a tree of arrays as NAME.safetensors and NAME.json.

    A process may be killed at any moment: the manifest that is there then belongs to a whole file,
    the old or the new one. While an old pair is replaced, its file stands under
    NAME.before.safetensors.

    Raises:
        ConfigError: two leaves have one path, or a leaf has a dtype that the format lacks.
    """
    folder = pathlib.Path(folder)
    leaves = named_leaves(tree)
    arrays = {path: _stored(path, leaf) for path, leaf in leaves.items()}
    content = safetensors.numpy.save(arrays)
    plain, before = _files_of(name)
    manifest = {
        "format": FORMAT,
        "file": plain,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "about": dict(about),
        "arrays": {
            path: {**describe(leaves[path]), "sha256": _sha256(array)}
            for path, array in arrays.items()
        },
    }
    _keep_before(folder, name)
    records.write_atomically(folder / plain, content)
    _write_manifest(folder, name, manifest)
    (folder / before).unlink(missing_ok=True)


def read_manifest(folder, name: str) -> Manifest:
    """NAME.json in a folder.

    Raises:
        RunDirectoryError: it is not there, no regular file, outside the folder, too large, damaged
            or of another version of the format.
    """
    path = pathlib.Path(folder) / f"{name}.json"
    content = _read(path, MAX_MANIFEST_BYTES)
    try:
        found = json_values.loads(content)
    except ValueError as error:
        raise RunDirectoryError(f"{path}: cannot be read as JSON: {error}") from error
    _refuse(not isinstance(found, dict), path, f"expected a JSON object, got {_kind(found)}")
    version = found.get("format")
    _refuse(version != FORMAT, path, f"its format is {version!r}, and this program reads {FORMAT}")
    for field, kind in _FIELDS.items():
        value = found.get(field)
        fits = isinstance(value, kind) and not isinstance(value, bool)
        _refuse(not fits, path, f"{field} must be a {kind.__name__}, got {_kind(value)}")
    allowed = _files_of(name)
    told = f"its file must be {' or '.join(allowed)}, got {found['file'][:100]!r}"
    _refuse(found["file"] not in allowed, path, told)
    return Manifest(path, **{field: found[field] for field in _FIELDS if field != "format"})


def read_weights(manifest: Manifest, like: PyTree) -> PyTree:
    """The arrays of a manifest's file, in the structure of `like`, on the default device.

    Args:
        like: arrays or shapes; the names, shapes and dtypes of its leaves are those that the file
            must have.

    Raises:
        RunDirectoryError: manifest and `like`, or file and manifest, do not fit each other.
    """
    expected = named_leaves(like)
    path = manifest.path.with_name(manifest.file)
    require_same(manifest.arrays, expected, manifest.path)
    stored = {name: stored_shape(leaf) for name, leaf in expected.items()}
    held = sum(shape.size * shape.dtype.itemsize for shape in stored.values())
    most = held + MAX_HEADER_BYTES
    claim = f"it claims {manifest.bytes} bytes of {path.name}, and its arrays are {held} bytes"
    _refuse(not held <= manifest.bytes <= most, manifest.path, claim)
    content = _read(path, manifest.bytes)
    told = f"expected {manifest.bytes} bytes, as {manifest.path.name} says, got {len(content)}"
    _refuse(len(content) != manifest.bytes, path, told)
    digest = hashlib.sha256(content).hexdigest()
    told = f"its SHA-256 is {digest}, and {manifest.path.name} says {manifest.sha256}"
    _refuse(digest != manifest.sha256, path, told)
    arrays = dict(_parsed(path, content))
    found = {name: {"dtype": str(x.dtype), "shape": list(x.shape)} for name, x in arrays.items()}
    require_same(found, stored, path)
    for name, array in arrays.items():
        digest, claimed = _sha256(array), manifest.arrays[name].get("sha256")
        told = f"{name}: the SHA-256 of its array is {digest}, and the manifest says {claimed!r}"
        _refuse(digest != claimed, path, told)
    return assembled(arrays, like)


def named_leaves(tree: PyTree) -> dict[str, Any]:
    """{path: leaf} of a tree, paths as `params/generator/Dense_0/kernel`.

    Raises:
        ConfigError: two leaves have one path.
    """
    pairs = jax.tree_util.tree_leaves_with_path(tree)
    named = {jax.tree_util.keystr(p, simple=True, separator="/"): leaf for p, leaf in pairs}
    require(len(named) == len(pairs), "two leaves of a model have one path: rename its parts")
    return named


def describe(leaf) -> dict[str, Any]:
    """{"dtype", "shape"} of an array or shape, as JSON has them."""
    return {"dtype": str(leaf.dtype), "shape": list(leaf.shape)}


def require_same(found: Mapping[str, Any], expected: Mapping[str, Any], where) -> None:
    """RunDirectoryError naming up to five leaves that differ, with both sides.

    Args:
        found: {leaf: {"dtype", "shape", ...}}.
        expected: {leaf: array or shape}.
        where: the file, for the message.
    """

    def shown(entry) -> str:
        if not isinstance(entry, Mapping):
            return _kind(entry)
        return f"{entry.get('dtype')!s:.40}{entry.get('shape')!s:.80}"

    rows = []
    for name in dict.fromkeys((*expected, *found)):
        there = shown(found[name]) if name in found else "absent"
        here = shown(describe(expected[name])) if name in expected else "absent"
        if there != here:
            rows.append(f"{name[:200]}: {there} there, {here} expected")
    rows = rows[:5] + ["..."] * (len(rows) > 5)
    _refuse(bool(rows), where, "; ".join(rows))


def assembled(arrays: Mapping[str, Any], like: PyTree) -> PyTree:
    """The arrays by path in the structure of `like`, as arrays of JAX; data of keys become keys."""

    def leaf(expected, name):
        array = arrays[name]
        if _is_key(expected) and not _is_key(array):
            return jax.random.wrap_key_data(jnp.asarray(array), impl=_impl(expected))
        return jnp.asarray(array)

    leaves, structure = jax.tree.flatten(like)
    names = named_leaves(like)
    return structure.unflatten([leaf(x, name) for x, name in zip(leaves, names, strict=True)])


def _files_of(name: str) -> tuple[str, str]:
    return f"{name}.safetensors", f"{name}.before.safetensors"


def _keep_before(folder: pathlib.Path, name: str) -> None:
    """Puts the file of a sound manifest, if there is one, under its other name."""
    plain, before = _files_of(name)
    path = folder / f"{name}.json"
    try:
        old = json_values.loads(path.read_bytes()) if path.is_file() else {}
    except (OSError, ValueError):
        return
    if not isinstance(old, dict) or old.get("file") != plain or not (folder / plain).is_file():
        return
    (folder / before).unlink(missing_ok=True)
    try:
        os.link(folder / plain, folder / before)
    except OSError:  # a file system without hard links
        records.write_atomically(folder / before, (folder / plain).read_bytes())
    _write_manifest(folder, name, {**old, "file": before})


def _write_manifest(folder: pathlib.Path, name: str, manifest: dict) -> None:
    text = json_values.dumps(manifest, indent=2)
    require(len(text) <= MAX_MANIFEST_BYTES, f"the manifest of {name} is too large")
    records.write_atomically(folder / f"{name}.json", text)


def _read(path: pathlib.Path, most: int) -> bytes:
    """A regular file inside its folder, of at most so many bytes; a pipe is not waited for."""
    records.contained(path.parent, path)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            _refuse(not stat.S_ISREG(status.st_mode), path, "it is no regular file")
            told = f"expected at most {most} bytes, got {status.st_size}"
            _refuse(status.st_size > most, path, told)
            return file.read(most + 1)
    except OSError as error:
        raise RunDirectoryError(f"{path}: {error.strerror or error}") from error


def _parsed(path: pathlib.Path, content: bytes) -> Iterator[tuple[str, np.ndarray]]:
    try:
        entries = safetensors.deserialize(content)
    except (safetensors.SafetensorError, ValueError) as error:
        raise RunDirectoryError(f"{path}: no safetensors file: {error}") from error
    for name, entry in entries:
        kind = _DTYPES.get(entry["dtype"])
        _refuse(kind is None, path, f"{name}: a dtype {entry['dtype']} is in no model")
        try:
            array = np.frombuffer(entry["data"], jnp.dtype(kind)).reshape(entry["shape"])
        except ValueError as error:  # more axes than NumPy has, for one
            raise RunDirectoryError(f"{path}: {name} is no array: {error}") from error
        yield name, array


def _stored(path: str, leaf) -> np.ndarray:
    """A leaf as it stands in the file."""
    array = np.asarray(jax.device_get(jax.random.key_data(leaf) if _is_key(leaf) else leaf))
    known = str(array.dtype) in _DTYPES.values()
    require(known, f"{path}: arrays of {array.dtype} cannot be written as safetensors", ConfigError)
    return np.asarray(array, order="C")


def stored_shape(leaf) -> jax.ShapeDtypeStruct:
    """Shape and dtype of a leaf as the file has it: of a typed key those of its data."""
    if _is_key(leaf):
        return jax.eval_shape(jax.random.key_data, leaf)
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def _is_key(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _impl(expected) -> str:
    """The name of the generator whose keys these are."""
    return str(jax.random.key_impl(jnp.zeros((), expected.dtype)))


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def _kind(value) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _refuse(wrong: bool, path, why: str) -> None:
    require(not wrong, f"{path}: {why}", RunDirectoryError)
