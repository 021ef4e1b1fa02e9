"""The leaves of a tree by their paths, as a file of weights stores them."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import PyTree, RunDirectoryError, is_key, require

PathLike = str | os.PathLike[str]


def named_leaves(tree: PyTree) -> dict[str, Any]:
    """Name the leaves of a tree by their paths, such as `params/generator/Dense_0/kernel`.

    Args:
        tree: any tree.

    Returns:
        {path: leaf}.

    Raises:
        ConfigError: if two leaves have one path.
    """
    pairs = jax.tree_util.tree_leaves_with_path(tree)
    named = {}
    for path, leaf in pairs:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        named[name] = leaf
    require(len(named) == len(pairs), "two leaves of a model have one path: rename its parts")
    return named


def describe(leaf: Any) -> dict[str, Any]:
    """Describe an array or shape by JSON values.

    Args:
        leaf: has a dtype and a shape.

    Returns:
        {"dtype", "shape"}.
    """
    return {"dtype": str(leaf.dtype), "shape": list(leaf.shape)}


def require_same(found: Mapping[str, Any], expected: Mapping[str, Any], where: PathLike) -> None:
    """Check that a file has the leaves that the program expects.

    Args:
        found: {leaf: {"dtype", "shape", ...}} of the file.
        expected: {leaf: array or shape}.
        where: the file, for the message.

    Raises:
        RunDirectoryError: naming up to five leaves that differ, with both sides.
    """

    names = dict.fromkeys((*expected, *found))
    changes = []
    for name in names:
        stored = wanted = "absent"
        if name in found:
            stored = _shown(found[name])
        if name in expected:
            entry = describe(expected[name])
            wanted = _shown(entry)
        if stored != wanted:
            changes.append(f"{name[:200]}: {stored} there, {wanted} expected")
    if len(changes) > 5:
        changes = [*changes[:5], "..."]
    refuse(bool(changes), where, "; ".join(changes))


def _shown(entry: Any) -> str:
    """Dtype and shape of a leaf, cut short since a file may hold anything in their place."""
    if not isinstance(entry, Mapping):
        return kind_of(entry)
    dtype = str(entry.get("dtype"))
    shape = str(entry.get("shape"))
    return f"{dtype:.40}{shape:.80}"


def assembled(arrays: Mapping[str, Any], like: PyTree) -> PyTree:
    """Put arrays into the structure of a tree.

    Args:
        arrays: by path.
        like: arrays or shapes.

    Returns:
        The structure of `like` with JAX arrays; data of keys are converted to keys.
    """

    def leaf(expected: Any, name: str) -> jax.Array:
        stored = arrays[name]
        array = jax.device_put(stored)  # jnp.asarray would be a program for each shape
        if is_key(expected) and not is_key(stored):
            return jax.random.wrap_key_data(array, impl=_impl(expected))
        return array

    structure = jax.tree.structure(like)
    named = named_leaves(like)
    leaves = [leaf(expected, name) for name, expected in named.items()]
    return structure.unflatten(leaves)


def stored_shape(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape and dtype of a leaf in the file.

    Args:
        leaf: an array or shape; a key is stored as its data.

    Returns:
        The shape.
    """
    if is_key(leaf):
        return jax.eval_shape(jax.random.key_data, leaf)
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def _impl(expected: Any) -> str:
    """The name of the keys' generator."""
    key = jnp.zeros((), expected.dtype)
    return str(jax.random.key_impl(key))


def kind_of(value: Any) -> str:
    """Name a value's type, for messages.

    Args:
        value: any value.

    Returns:
        Such as "a list".
    """
    if value is None:
        return "nothing"
    name = type(value).__name__
    return f"a {name}"


def refuse(wrong: bool, path: PathLike, reason: str) -> None:
    """Raise an error about a file.

    Args:
        wrong: whether to raise it.
        path: the file.
        reason: what is wrong with it.

    Raises:
        RunDirectoryError: if `wrong`.
    """
    require(not wrong, f"{path}: {reason}", RunDirectoryError)
