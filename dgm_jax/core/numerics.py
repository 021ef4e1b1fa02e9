"""Random draws that compile quickly, and loops over rows, shared by every room.

XLA's CPU compiler needs seconds for an N-dimensional threefry draw and milliseconds
for a flat one; the values are the same bit for bit. So draws here are flat, then reshaped.
"""

import math

import jax
import jax.numpy as jnp

from dgm_jax.core.types import Array, Key, PyTree


def normal(key: Key, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """Standard normal draws; equal to `jax.random.normal(key, shape)` and quicker to compile."""
    return jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)


def uniform(key: Key, shape: tuple[int, ...], dtype=jnp.float32, minval=0.0, maxval=1.0) -> Array:
    """Draws from U[minval, maxval); equal to `jax.random.uniform(key, shape)`."""
    return jax.random.uniform(key, (math.prod(shape),), dtype, minval, maxval).reshape(shape)


def logistic_draw(key: Key, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """Standard logistic draws: log U - log(1 - U)."""
    return jax.random.logistic(key, (math.prod(shape),), dtype).reshape(shape)


def chunked(function, x: Array, size: int) -> PyTree:
    """`function` over the rows of x [N, ...], `size` at a time, so that memory does not grow with their number.

    function: `[n, ...] -> tree of [n, ...]`, row by row, for n = size and for what is left over.
    """
    full = x.shape[0] // size * size
    if full == 0:
        return function(x)
    out = jax.lax.map(function, x[:full].reshape(-1, size, *x.shape[1:]))
    out = jax.tree.map(lambda a: a.reshape(full, *a.shape[2:]), out)
    if full == x.shape[0]:
        return out
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), out, function(x[full:]))
