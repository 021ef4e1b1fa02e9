"""Random draws that compile quickly, means in log space, and loops over rows, shared by every room.

XLA's CPU compiler needs seconds for an N-dimensional threefry draw and milliseconds
for a flat one; the values are the same bit for bit. So draws here are flat, then reshaped.
"""

import math
import zlib
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core.errors import require
from dgm_jax.core.types import Array, Key, PyTree


class LogMeanExp(NamedTuple):
    """value: log of the mean of exp(T), nats.
    standard_error: of the value, by the delta method; NaN for one entry.
    effective_sample_size: (sum w)^2 / sum w^2 with w = exp(T); a small one says that neither can be
        trusted.
    """

    value: Array
    standard_error: Array
    effective_sample_size: Array


def named_key(key: Key, name: str) -> Key:
    """A key of its own for a named use of randomness, such as "encoder dropout".

    It is `fold_in(key, CRC-32 of the name)`, so a new use leaves the draws of all others as they
    are.
    """
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def normal(key: Key, shape: tuple[int, ...], dtype=float) -> Array:
    """Standard normal draws; equal to `jax.random.normal(key, shape)` and quicker to compile."""
    return jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)


def uniform(key: Key, shape: tuple[int, ...], dtype=float, minval=0.0, maxval=1.0) -> Array:
    """Draws from U[minval, maxval); equal to `jax.random.uniform(key, shape)`."""
    return jax.random.uniform(key, (math.prod(shape),), dtype, minval, maxval).reshape(shape)


def float_type(*values):
    """The floating type that arrays have together, and at least float32."""
    return jnp.promote_types(jnp.result_type(*values), jnp.float32)


def at_least_float32(x) -> Array:
    """x in its own floating type, and at least in float32."""
    return jnp.asarray(x, float_type(x))


def widened(*values) -> tuple[Array, ...]:
    """Arrays, or numbers, in the floating type that they have together, and at least in float32."""
    dtype = float_type(*values)
    return tuple(jnp.asarray(value, dtype) for value in values)


@jax.custom_jvp
def exp_remainder(u: Array) -> Array:
    """e^u - 1 - u, elementwise: never negative, and right to rounding near 0, where the terms
    cancel. In at least float32."""
    u = at_least_float32(u)
    near = jnp.abs(u) < 0.5
    small = jnp.where(near, u, 0)
    series = jnp.zeros_like(u)
    for n in range(15, 1, -1):  # the sum of u^n / n!, from its last term
        series = series * small + 1 / math.factorial(n)
    return jnp.where(near, series * jnp.square(small), jnp.expm1(u) - u)


@exp_remainder.defjvp
def _exp_remainder_jvp(primals, tangents):
    (u,), (tangent,) = primals, tangents
    return exp_remainder(u), jnp.expm1(at_least_float32(u)) * tangent


def log_mean_exp(values: Array, axis: int = -1) -> Array:
    """log of the mean of exp(values) over one axis: logsumexp less the log of its length."""
    return jax.nn.logsumexp(values, axis=axis) - jnp.log(values.shape[axis])


def estimate_log_mean_exp(log_weights: Array) -> LogMeanExp:
    """`log_mean_exp` over all entries, with what it is worth: its standard error, and the number of
    entries that carry it.

    Where every weight is zero the value is -inf and the size 0.
    """
    num = jnp.size(log_weights)
    require(num >= 1, f"a mean needs at least one entry; got shape {jnp.shape(log_weights)}")
    log_weights = jnp.ravel(log_weights)
    top = jax.lax.stop_gradient(jnp.max(log_weights))
    top = jnp.where(jnp.isneginf(top), 0.0, top)
    weights = jnp.exp(log_weights - top)
    mean = jnp.mean(weights)
    error = (
        jnp.std(weights, ddof=1) / (math.sqrt(num) * mean)
        if num > 1
        else jnp.full_like(mean, jnp.nan)
    )
    squares = jnp.sum(jnp.square(weights))
    size = jnp.square(jnp.sum(weights)) / jnp.where(squares > 0, squares, 1.0)
    return LogMeanExp(top + jnp.log(mean), error, size)


def compensated_add(total: Array, lost: Array, term: Array) -> tuple[Array, Array]:
    """One step of Kahan's sum: (total + term, what that addition rounded away).

    Args:
        total: the sum so far.
        lost: what the last addition rounded away, 0 at first.
        term: what is added.
    """
    term = term - lost
    new = total + term
    return new, jnp.where(jnp.isfinite(new), (new - total) - term, 0)


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
