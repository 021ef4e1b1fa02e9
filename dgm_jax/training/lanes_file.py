"""The arrays of a checkpoint as one file: the bytes of every leaf, one after the other.

Names, dtypes, shapes and the hash of the bits are in the checkpoint's seal, so the file needs none
of them. orbax's own storage of arrays never gives back some kilobytes of each save (tensorstore
keeps what it returns as JSON), which adds up over the thousands of checkpoints of a run.
"""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from dgm_jax.core import PyTree

FILE = "lanes.bin"


class LanesHandler(ocp.CheckpointHandler):
    """Writes and reads the file in the folder that orbax gives; see `SaveLanes`, `RestoreLanes`."""

    def save(self, directory, args: "SaveLanes") -> None:
        """Writes the leaves and flushes them to the disk. Raises OSError where it refuses."""
        with open(os.fspath(directory / FILE), "wb") as file:
            for leaf in jax.tree.leaves(args.item):
                file.write(np.ascontiguousarray(_plain(leaf)).reshape(-1).view(np.uint8).data)
            file.flush()
            os.fsync(file.fileno())

    def restore(self, directory, args: "RestoreLanes") -> PyTree:
        """The leaves, placed by their shardings. Raises OSError where the file cannot be read,
        ValueError where it has another size than theirs."""
        path = Path(os.fspath(directory / FILE))
        leaves, structure = jax.tree.flatten(args.item)
        shapes = [jax.eval_shape(_plain, leaf) for leaf in leaves]
        _require_size(path, shapes)
        with open(path, "rb") as file:
            arrays = [_read(file, leaf, x) for leaf, x in zip(leaves, shapes, strict=True)]
        return jax.tree.unflatten(structure, arrays)


@ocp.args.register_with_handler(LanesHandler, for_save=True)
@dataclasses.dataclass
class SaveLanes(ocp.args.CheckpointArgs):
    """item: a tree of arrays."""

    item: PyTree


@ocp.args.register_with_handler(LanesHandler, for_restore=True)
@dataclasses.dataclass
class RestoreLanes(ocp.args.CheckpointArgs):
    """item: the same tree of `jax.ShapeDtypeStruct` with shardings."""

    item: PyTree


_LEAF = re.compile(r"(key<)?(\w+)>?\[([\d, ]*)\]")
_KEY_WORDS = {"fry": 2, "rbg": 4, "urbg": 4}


def read_named(path: Path, leaves: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The leaves without the program that made them; those of a key as the numbers it is made of.

    Args:
        path: of the file.
        leaves: by path, such as `float32[4, 2]` or `key<fry>[4]`, in the order of the file.

    Raises:
        OSError: the file cannot be read. ValueError: a leaf of an unknown kind, or a file of
            another size than the leaves.
    """
    shapes = {name: _described(text) for name, text in leaves.items()}
    _require_size(path, shapes.values())
    with open(path, "rb") as file:
        return {name: _next(file, shape) for name, shape in shapes.items()}


def _require_size(path: Path, shapes: Iterable[jax.ShapeDtypeStruct]) -> None:
    expected, found = sum(map(_num_bytes, shapes)), path.stat().st_size
    if found != expected:
        raise ValueError(f"{path} has {found} bytes, and its arrays {expected}")


def _described(text: str) -> jax.ShapeDtypeStruct:
    match = _LEAF.fullmatch(text)
    if match is None or (match[1] and match[2] not in _KEY_WORDS):
        raise ValueError(f"an array of an unknown kind: {text!r}")
    shape = tuple(int(size) for size in match[3].split(",") if size.strip())
    if match[1]:
        return jax.ShapeDtypeStruct((*shape, _KEY_WORDS[match[2]]), jnp.uint32)
    return jax.ShapeDtypeStruct(shape, jnp.dtype(match[2]))


def _next(file, shape: jax.ShapeDtypeStruct) -> np.ndarray:
    content = file.read(_num_bytes(shape))
    return np.frombuffer(content, np.uint8).view(shape.dtype).reshape(shape.shape)


def _plain(leaf):
    """An array of numbers: that of a key, or the array itself."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _is_key(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _implementation(leaf) -> str:
    """How the keys of a shape are made; JAX tells it of arrays only, also while it traces."""
    found = []
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), leaf)
    return found[0]


def _num_bytes(shape: jax.ShapeDtypeStruct) -> int:
    return int(np.prod(shape.shape, dtype=np.int64)) * np.dtype(shape.dtype).itemsize


def _read(file, leaf: jax.ShapeDtypeStruct, shape: jax.ShapeDtypeStruct) -> jax.Array:
    """The next leaf of the file."""
    array = _next(file, shape)
    if _is_key(leaf):
        array = jax.random.wrap_key_data(jnp.asarray(array), impl=_implementation(leaf))
    return jax.device_put(array, leaf.sharding)
