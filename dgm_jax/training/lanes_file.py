"""The arrays of a checkpoint as one file: the bytes of every leaf, one after the other.

Names, dtypes, shapes and the hash of the bits are in the checkpoint's seal, so the file has none of
them. orbax's own storage of arrays never releases some kilobytes per save (tensorstore keeps what
it returns as JSON), which adds up over the thousands of checkpoints of a run.
"""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from dgm_jax.core import PyTree, is_key

FILE = "lanes.bin"


class LanesHandler(ocp.CheckpointHandler):
    """Writes and reads the file in the folder that orbax chooses."""

    def save(self, directory: Any, args: "SaveLanes") -> None:
        """Write the leaves and flush them to the disk.

        Args:
            directory: where orbax wants the file.
            args: the lanes.

        Raises:
            OSError: if the file cannot be written.
        """
        path = os.fspath(directory / FILE)
        with open(path, "wb") as file:
            for leaf in jax.tree.leaves(args.item):
                values = np.ascontiguousarray(_plain(leaf))
                content = values.reshape(-1).view(np.uint8)
                file.write(content.data)
            file.flush()
            os.fsync(file.fileno())

    def restore(self, directory: Any, args: "RestoreLanes") -> PyTree:
        """Read the leaves and place them by their shardings.

        Args:
            directory: where the file is.
            args: shapes, dtypes and shardings of the leaves.

        Returns:
            The tree of arrays.

        Raises:
            OSError: if the file cannot be read.
            ValueError: if its size does not fit the leaves.
        """
        path = Path(os.fspath(directory / FILE))
        leaves, structure = jax.tree.flatten(args.item)
        shapes = [jax.eval_shape(_plain, leaf) for leaf in leaves]
        _require_size(path, shapes)
        arrays = []
        with open(path, "rb") as file:
            for leaf, shape in zip(leaves, shapes, strict=True):
                array = _read(file, leaf, shape)
                arrays.append(array)
        return jax.tree.unflatten(structure, arrays)


@ocp.args.register_with_handler(LanesHandler, for_save=True)
@dataclasses.dataclass
class SaveLanes(ocp.args.CheckpointArgs):
    """What is saved.

    Attributes:
        item: a tree of arrays.
    """

    item: PyTree


@ocp.args.register_with_handler(LanesHandler, for_restore=True)
@dataclasses.dataclass
class RestoreLanes(ocp.args.CheckpointArgs):
    """What is restored.

    Attributes:
        item: a tree of `jax.ShapeDtypeStruct` with shardings.
    """

    item: PyTree


_LEAF = re.compile(r"(key<)?(\w+)>?\[([\d, ]*)\]")
_KEY_WORDS = {"fry": 2, "rbg": 4, "urbg": 4}


def read_named(path: Path, leaves: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Read the leaves without the program that made them.

    Args:
        path: the file.
        leaves: types by path, such as `float32[4, 2]` or `key<fry>[4]`, in the order of the file.

    Returns:
        Arrays by path; a random key is the array of its words.

    Raises:
        OSError: if the file cannot be read.
        ValueError: for an unknown type, or a file whose size does not fit the leaves.
    """
    shapes = {name: _described(text) for name, text in leaves.items()}
    _require_size(path, shapes.values())
    with open(path, "rb") as file:
        return {name: _next(file, shape) for name, shape in shapes.items()}


def _require_size(path: Path, shapes: Iterable[jax.ShapeDtypeStruct]) -> None:
    num_expected = sum(map(_num_bytes, shapes))
    num_bytes = path.stat().st_size
    if num_bytes != num_expected:
        raise ValueError(f"{path} has {num_bytes} bytes, and its arrays {num_expected}")


def _described(text: str) -> jax.ShapeDtypeStruct:
    """Shape and dtype of a type such as `float32[4, 2]`."""
    match = _LEAF.fullmatch(text)
    if match is None or (match[1] and match[2] not in _KEY_WORDS):
        raise ValueError(f"an array of an unknown kind: {text!r}")
    key_prefix, kind, sizes = match.groups()
    shape = tuple(int(size) for size in sizes.split(",") if size.strip())
    if key_prefix:
        num_words = _KEY_WORDS[kind]
        return jax.ShapeDtypeStruct((*shape, num_words), jnp.uint32)
    return jax.ShapeDtypeStruct(shape, jnp.dtype(kind))


def _next(file: BinaryIO, shape: jax.ShapeDtypeStruct) -> np.ndarray:
    """The next leaf of the file, as numbers."""
    num_bytes = _num_bytes(shape)
    content = np.frombuffer(file.read(num_bytes), np.uint8)
    return content.view(shape.dtype).reshape(shape.shape)


def _plain(leaf: Any) -> Any:
    """The words of a random key, or any other array as it is."""
    return jax.random.key_data(leaf) if is_key(leaf) else leaf


def key_generator(leaf: jax.ShapeDtypeStruct) -> str:
    """The name of a key's generator, which JAX tells of arrays only, so of one that it traces.

    Args:
        leaf: shape and dtype of keys.

    Returns:
        The name.
    """
    names = []

    def note(key: Any) -> None:
        name = jax.random.key_impl(key)
        names.append(name)

    jax.eval_shape(note, leaf)
    return names[0]


def _num_bytes(shape: jax.ShapeDtypeStruct) -> int:
    size = int(np.prod(shape.shape, dtype=np.int64))
    item_size = np.dtype(shape.dtype).itemsize
    return size * item_size


def _read(file: BinaryIO, leaf: jax.ShapeDtypeStruct, shape: jax.ShapeDtypeStruct) -> Any:
    """The next leaf of the file, on its devices; on the host for a leaf without sharding."""
    array = _next(file, shape)
    if is_key(leaf):
        words = jnp.asarray(array)
        array = jax.random.wrap_key_data(words, impl=key_generator(leaf))
    if leaf.sharding is None:
        return array
    return jax.device_put(array, leaf.sharding)
