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
    named = {jax.tree_util.keystr(p, simple=True, separator="/"): leaf for p, leaf in pairs}
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

    def shown(entry: Any) -> str:
        if not isinstance(entry, Mapping):
            return kind_of(entry)
        return f"{entry.get('dtype')!s:.40}{entry.get('shape')!s:.80}"

    changes = []
    for name in dict.fromkeys((*expected, *found)):
        stored = shown(found[name]) if name in found else "absent"
        wanted = shown(describe(expected[name])) if name in expected else "absent"
        if stored != wanted:
            changes.append(f"{name[:200]}: {stored} there, {wanted} expected")
    if len(changes) > 5:
        changes = [*changes[:5], "..."]
    refuse(bool(changes), where, "; ".join(changes))


def assembled(arrays: Mapping[str, Any], like: PyTree) -> PyTree:
    """Put arrays into the structure of a tree.

    Args:
        arrays: by path.
        like: arrays or shapes.

    Returns:
        The structure of `like` with JAX arrays; data of keys are converted to keys.
    """

    def leaf(expected: Any, name: str) -> jax.Array:
        array = arrays[name]
        if is_key(expected) and not is_key(array):
            return jax.random.wrap_key_data(jnp.asarray(array), impl=_impl(expected))
        return jnp.asarray(array)

    leaves, structure = jax.tree.flatten(like)
    names = named_leaves(like)
    return structure.unflatten([leaf(x, name) for x, name in zip(leaves, names, strict=True)])


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
    return str(jax.random.key_impl(jnp.zeros((), expected.dtype)))


def kind_of(value: Any) -> str:
    """Name a value's type, for messages.

    Args:
        value: any value.

    Returns:
        Such as "a list".
    """
    return "nothing" if value is None else f"a {type(value).__name__}"


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
