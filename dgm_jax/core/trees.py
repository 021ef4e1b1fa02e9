"""Operations on trees of arrays."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core.types import Array, PyTree

_PART_BYTES = 2**24  # of a copy made to hash an array that is not in C order


def all_finite(tree: PyTree) -> Array:
    """Whether no floating-point leaf has a NaN or an infinity.

    Args:
        tree: of arrays.

    Returns:
        bool[].

    Example:
        >>> bool(core.all_finite({"a": jnp.ones(2), "b": jnp.array(jnp.nan)}))
        False
    """
    leaves = jax.tree.leaves(tree)
    inexact = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    if not inexact:
        return jnp.array(True)
    return jax.lax.platform_dependent(inexact, cpu=_finite_by_products, default=_finite_by_element)


def _finite_by_element(leaves: list[Array]) -> Array:
    return jnp.all(jnp.stack([_finite(leaf) for leaf in leaves]))


def _finite(leaf: Array) -> Array:
    """Whether all of an array is finite, by operations of `lax`: those of `jnp` take longer to
    trace."""
    is_complex = jnp.issubdtype(leaf.dtype, jnp.complexfloating)
    flags = jnp.isfinite(leaf) if is_complex else jax.lax.is_finite(leaf)
    return jax.lax.reduce(flags, np.bool_(True), jax.lax.bitwise_and, range(flags.ndim))


def _finite_by_products(leaves: list[Array]) -> Array:
    """The same by products with zeros, 0 for finite numbers and NaN for others.

    XLA's CPU backend stores what `isfinite` says of each number before it combines them.
    """
    products = [_times_zeros(leaf) for leaf in leaves]
    flat = [jax.lax.reshape(product, (product.size,)) for product in products]
    return jnp.all(jnp.isfinite(jnp.concatenate(flat)))


def _times_zeros(x: Array) -> Array:
    """[*B, C] times [C] zeros; a scalar times 0."""
    if x.ndim == 0:
        return 0 * x
    zeros = jax.lax.full(x.shape[-1:], 0, x.dtype)
    return jax.lax.dot_general(x, zeros, (((x.ndim - 1,), (0,)), ((), ())))


def select_tree(
    condition: Array,
    on_true: PyTree,
    on_false: PyTree,
) -> PyTree:
    """Leaf-wise `where` with one scalar condition; typed keys are allowed.

    Args:
        condition: bool[].
        on_true: tree of arrays.
        on_false: tree of the same structure and shapes.

    Returns:
        One of the two trees.

    Example:
        >>> core.select_tree(jnp.array(True), {"a": jnp.int32(1)}, {"a": jnp.int32(2)})["a"].item()
        1
    """
    return jax.tree.map(lambda a, b: jax.lax.select(condition, a, b), on_true, on_false)


def is_key(leaf: Any) -> bool:
    """Return whether something is an array of typed random keys.

    Args:
        leaf: an array, its shape, or anything else.

    Returns:
        True for typed keys and their shapes.

    Example:
        >>> core.is_key(jax.random.key(0)), core.is_key(jax.random.PRNGKey(0))
        (True, False)
    """
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def on_host(tree: PyTree) -> PyTree:
    """Copy a tree to the host, once its arrays are computed.

    Reading an array whose program has failed, such as for lack of memory, ends the process on a
    CPU; waiting for it first, as here, raises the error.

    Args:
        tree: arrays.

    Returns:
        The tree with NumPy arrays as leaves.

    Example:
        >>> core.on_host({"w": jnp.arange(3)})
        {'w': array([0, 1, 2], dtype=int32)}
    """
    return jax.device_get(jax.block_until_ready(tree))


def tree_size(tree: PyTree) -> int:
    """Total number of elements of a tree.

    Args:
        tree: of arrays.

    Returns:
        The sum of the leaves' sizes.

    Example:
        >>> core.tree_size({"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)})
        9
    """
    return sum(x.size for x in jax.tree.leaves(tree))


def has_kernels(params: PyTree) -> bool:
    """Whether the parameters contain a convolution kernel [kh, kw, in, out].

    Args:
        params: tree of arrays.

    Returns:
        True where a leaf has four axes or more.

    Example:
        >>> core.has_kernels({"kernel": jnp.ones((3, 3, 1, 8))})
        True
    """
    return any(leaf.ndim >= 4 for leaf in jax.tree.leaves(params))


def tree_sha256(tree: PyTree) -> str:
    """SHA-256 over paths, dtypes, shapes and bytes of the leaves, in tree order.

    Args:
        tree: of arrays.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> core.tree_sha256({"a": jnp.zeros(2)}) == core.tree_sha256({"b": jnp.zeros(2)})
        False
    """
    leaves = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        leaves[jax.tree_util.keystr(path)] = leaf
    return sha256_of(leaves)


def sha256_of(leaves: Mapping[str, Any]) -> str:
    """`tree_sha256` of leaves by path, in the given order.

    Args:
        leaves: arrays by path.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> core.sha256_of({"['a']": jnp.zeros(2)}) == core.tree_sha256({"a": jnp.zeros(2)})
        True
    """
    digest = hashlib.sha256()
    for path, leaf in leaves.items():
        if is_key(leaf):
            leaf = jax.random.key_data(leaf)
        array = np.asarray(jax.device_get(leaf))
        header = f"{path}|{array.dtype}|{array.shape}|"
        digest.update(header.encode())
        for part in _contiguous_parts(array):
            octets = part.reshape(-1).view(np.uint8)
            digest.update(octets.data)
    return digest.hexdigest()


def _contiguous_parts(array: np.ndarray) -> Iterator[np.ndarray]:
    """An array in its C order; one of another order in parts, since each is a copy."""
    if array.ndim < 2 or array.flags.c_contiguous:
        yield np.ascontiguousarray(array)
        return
    num_rows = len(array)
    num_at_once = _PART_BYTES * num_rows // max(1, array.nbytes)
    num_at_once = max(1, num_at_once)
    for start in range(0, num_rows, num_at_once):
        part = array[start : start + num_at_once]
        yield np.ascontiguousarray(part)
