"""Masks [*B] of padding, the vectors that only fill up a batch: True for the real ones.

Draws from the real vectors are those that would be made without the padding.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, Key, require


def rows_mask(mask: Array | None, shape: tuple[int, ...]) -> Array | None:
    """Flatten a mask of vectors.

    Args:
        mask: bool[*B], or None.
        shape: of the vectors, (*B, D).

    Returns:
        bool[N] with N = prod(*B); None for None.

    Raises:
        ConfigError: a mask of another shape.

    Example:
        >>> rows_mask(jnp.array([[True], [False]]), (2, 1, 3)).tolist()
        [True, False]
    """
    if mask is None:
        return None
    got = jnp.shape(mask)
    batch = shape[:-1]
    require(got == batch, f"mask must be {batch}, as z is {shape}; got {got}")
    mask = jnp.asarray(mask, bool)
    return mask.reshape(-1)


def real_first(num_rows: int, mask: Array | None) -> tuple[Array, Array | int]:
    """Order rows so that those that are not padding come first, in their own order.

    Args:
        num_rows: N.
        mask: bool[N], False for padding, or None.

    Returns:
        The positions of the rows, integers [N], and the number of those that are not padding, at
        least 1.

    Example:
        >>> order, num = real_first(3, jnp.array([False, True, True]))
        >>> order.tolist(), int(num)
        ([1, 2, 0], 2)
    """
    if mask is None:
        return jnp.arange(num_rows), num_rows
    order = jnp.argsort(~mask, stable=True)
    num_real = jnp.sum(mask, dtype=jnp.int32)
    num_real = jnp.maximum(num_real, 1)
    return order, num_real


def shuffled(key: Key, num_rows: int, mask: Array | None) -> tuple[Array, Array | int]:
    """Order rows at random, those that are not padding first.

    The n rows that are not padding are in the order that `jax.random.permutation(key, n)` gives to
    them alone. It sorts by random bits, once or, for many rows, more often; here the number of
    rounds depends on n, which may be traced.

    Args:
        key: a typed key.
        num_rows: N.
        mask: bool[N], False for padding, or None.

    Returns:
        The positions of the rows, integers [N], and the number of those that are not padding, at
        least 1.

    Example:
        >>> order, num = shuffled(jax.random.key(0), 4, jnp.array([True, False, True, True]))
        >>> sorted(order[:3].tolist()), int(num)
        ([0, 2, 3], 3)
    """
    if mask is None:
        order = jax.random.permutation(key, num_rows)
        return order, num_rows
    order, num = real_first(num_rows, mask)
    fills = jnp.arange(num_rows) >= num
    for least in _rounds(num_rows):
        key, key_bits = jax.random.split(key)
        bits = jax.random.bits(key_bits, (num_rows,), jnp.uint32)
        _, _, by_bits = lax.sort((fills, bits, order), num_keys=2)
        order = jnp.where(num > least, by_bits, order)
    return order, num


def _rounds(num_rows: int) -> list[float]:
    """The number of rows above which each round of sorting is made, by round."""
    largest = float(jnp.iinfo(jnp.uint32).max)
    num_rounds = math.ceil(3 * math.log(num_rows) / math.log(largest))
    return [largest ** (index / 3) for index in range(num_rounds)]
