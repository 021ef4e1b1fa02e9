"""Vectors that only fill up a batch: masks [*B], True for the real ones.

What is drawn here from the real vectors is what would be drawn from them alone, so that padding
changes nothing.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, Key, require


def rows_mask(mask: Array | None, shape: tuple[int, ...]) -> Array | None:
    """bool[N] of a mask [*B] for vectors of `shape` [*B, D]; `ConfigError` for another shape."""
    if mask is None:
        return None
    got = jnp.shape(mask)
    require(got == shape[:-1], f"mask must be {shape[:-1]}, as z is {shape}; got {got}")
    return jnp.asarray(mask, bool).reshape(-1)


def real_first(num_rows: int, mask: Array | None) -> tuple[Array, Array | int]:
    """The positions of N rows, those that `mask` [N] keeps first and in their order; how many those
    are, at least 1."""
    if mask is None:
        return jnp.arange(num_rows), num_rows
    order = jnp.argsort(~mask, stable=True)
    return order, jnp.maximum(jnp.sum(mask, dtype=jnp.int32), 1)


def shuffled(key: Key, num_rows: int, mask: Array | None) -> tuple[Array, Array | int]:
    """The positions of N rows in random order, those that `mask` [N] keeps first; how many those
    are, at least 1.

    The n real rows are in the order that `jax.random.permutation(key, n)` gives to them alone. It
    sorts by random bits, once or, for many rows, more often; here the number of rounds depends on
    n, which may be traced.
    """
    if mask is None:
        return jax.random.permutation(key, num_rows), num_rows
    order, num = real_first(num_rows, mask)
    fills = jnp.arange(num_rows) >= num
    for least in _rounds(num_rows):
        key, key_bits = jax.random.split(key)
        bits = jax.random.bits(key_bits, (num_rows,), jnp.uint32)
        by_bits = lax.sort((fills, bits, order), num_keys=2)[-1]
        order = jnp.where(num > least, by_bits, order)
    return order, num


def _rounds(num_rows: int) -> list[float]:
    """Of each round of sorting, above how many rows it is made."""
    largest = float(jnp.iinfo(jnp.uint32).max)
    rounds = math.ceil(3 * math.log(num_rows) / math.log(largest))
    return [largest ** (index / 3) for index in range(rounds)]
