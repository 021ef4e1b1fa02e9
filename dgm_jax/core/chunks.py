"""Rows a few at a time, so that memory does not grow with their number."""

import jax
import jax.numpy as jnp

from dgm_jax.core.types import Array, PyTree


def even_chunks(x: Array, size: int, fill) -> Array:
    """[N, ...] as [chunks, at most `size`, ...]: as few chunks as can be, evenly filled, the last
    up with `fill`."""
    num = x.shape[0]
    size = -(-num // -(-num // size))
    padded = jnp.pad(x, [(0, -num % size)] + [(0, 0)] * (x.ndim - 1), constant_values=fill)
    return padded.reshape(-1, size, *x.shape[1:])


def chunked(function, x: Array, size: int) -> PyTree:
    """`function` over the rows of x [N, ...], `size` at a time, so that memory does not grow with
    their number.

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
