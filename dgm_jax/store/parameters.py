"""Trained parameters as one npz file: flat names, plain arrays, nothing that could be executed."""

import io
import pathlib

import jax
import numpy as np

from dgm_jax.core import DataError, PyTree, require
from dgm_jax.store import records


def save_parameters(path, tree: PyTree) -> None:
    """Writes the leaves of a tree of arrays under their paths (`generator/Dense_0/kernel`), all or
    nothing."""
    flat = {
        _name(leaf_path): np.asarray(leaf)
        for leaf_path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    buffer = io.BytesIO()
    np.savez(buffer, **flat)  # pyright: ignore[reportArgumentType]  no leaf is `allow_pickle`
    records.write_atomically(pathlib.Path(path), buffer.getvalue())


def load_parameters(path, like: PyTree) -> PyTree:
    """The tree of arrays saved at `path`, in the structure of `like` (arrays or shapes).

    Raises DataError naming the entry that is missing or has another shape. A leading axis
    of seeds is kept if `like` has one; take seed i by `jax.tree.map(lambda x: x[i], tree)`.
    """
    path = pathlib.Path(path)
    require(path.is_file(), f"{path}: no such file", DataError)
    with np.load(path, allow_pickle=False) as file:

        def leaf(leaf_path, expected):
            name = _name(leaf_path)
            require(
                name in file,
                f"{path} has no entry {name!r}; it has {', '.join(file.files[:8])}",
                DataError,
            )
            found = file[name]
            require(
                found.shape == tuple(expected.shape),
                f"{path}: {name} has shape {found.shape}, expected {tuple(expected.shape)}",
                DataError,
            )
            return found

        return jax.tree_util.tree_map_with_path(leaf, like)


def _name(path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
