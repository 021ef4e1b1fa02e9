"""Operations on trees of arrays."""

import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core.types import Array, PyTree


def all_finite(tree: PyTree) -> Array:
    """bool[]: no NaN and no infinity in any floating-point leaf."""
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return (
        jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in leaves]))
        if leaves
        else jnp.array(True)
    )


def select_tree(condition: Array, on_true: PyTree, on_false: PyTree) -> PyTree:
    """Leaf-wise `where` with one scalar condition; typed keys pass through it too."""
    return jax.tree.map(lambda a, b: jax.lax.select(condition, a, b), on_true, on_false)


def on_host(tree: PyTree) -> PyTree:
    """The leaves as NumPy arrays, when they are computed.

    To take the values of an array whose program has failed, by exhausted memory say, ends the
    process on a CPU; to wait for it raises the error.
    """
    return jax.device_get(jax.block_until_ready(tree))


def tree_size(tree: PyTree) -> int:
    """Number of numbers in a tree."""
    return sum(x.size for x in jax.tree.leaves(tree))


def has_kernels(params: PyTree) -> bool:
    """Whether a network with these parameters convolves: a leaf is a kernel [kh, kw, in, out]."""
    return any(leaf.ndim >= 4 for leaf in jax.tree.leaves(params))


def tree_sha256(tree: PyTree) -> str:
    """SHA-256 over paths, dtypes, shapes and bytes of the leaves, in tree order."""
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return sha256_of({jax.tree_util.keystr(path): leaf for path, leaf in paths})


def sha256_of(leaves: Mapping[str, Any]) -> str:
    """The same of leaves by path, in the order in which they come."""
    digest = hashlib.sha256()
    for path, leaf in leaves.items():
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.asarray(jax.device_get(leaf))
        digest.update(f"{path}|{array.dtype}|{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
