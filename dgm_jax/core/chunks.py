"""Work on a few rows at a time, so that memory does not grow with their number."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dgm_jax.core.types import Array, PyTree


def even_chunks(
    x: Array,
    size: int,
    fill: float | bool,
) -> Array:
    """Split rows into as few chunks of at most `size` as possible, evenly filled.

    Args:
        x: [N, ...].
        size: largest number of rows in a chunk.
        fill: value of the rows that pad the last chunk.

    Returns:
        [num_chunks, rows, ...] with rows <= size.

    Example:
        >>> core.even_chunks(jnp.arange(5), 4, -1).tolist()
        [[0, 1, 2], [3, 4, -1]]
    """
    num = x.shape[0]
    num_chunks = -(-num // size)
    size = -(-num // num_chunks)
    padding = [(0, -num % size)] + [(0, 0)] * (x.ndim - 1)
    padded = jnp.pad(x, padding, constant_values=fill)
    return padded.reshape(-1, size, *x.shape[1:])


def chunked(
    function: Callable[[Array], PyTree],
    x: Array,
    size: int,
) -> PyTree:
    """Apply a row-wise function to `size` rows at a time.

    Args:
        function: `[n, ...] -> tree of [n, ...]`, row by row, for n = size and for the remainder.
        x: [N, ...].
        size: rows in a chunk.

    Returns:
        The tree of [N, ...] that `function(x)` gives.

    Example:
        >>> core.chunked(lambda rows: rows**2, jnp.arange(5), 2).tolist()
        [0, 1, 4, 9, 16]
    """
    num = x.shape[0]
    full = num // size * size  # rows in whole chunks
    if full == 0:
        return function(x)
    chunks = x[:full].reshape(-1, size, *x.shape[1:])
    out = jax.lax.map(function, chunks)
    out = jax.tree.map(lambda a: a.reshape(full, *a.shape[2:]), out)
    if full == num:
        return out
    rest = function(x[full:])
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), out, rest)
