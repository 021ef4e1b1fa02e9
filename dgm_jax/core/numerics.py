"""Random draws that compile quickly, floating types and compensated sums, shared by every room.

XLA's CPU compiler needs seconds for an N-dimensional threefry draw and milliseconds
for a flat one; the values are the same bit for bit. So draws here are flat, then reshaped.
"""

import math
import zlib

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from dgm_jax.core import checks
from dgm_jax.core.types import Array, Key


def named_key(key: Key, name: str) -> Key:
    """A key of its own for a named use of randomness, such as "encoder dropout".

    It is `fold_in(key, CRC-32 of the name)`, so a new use leaves the draws of all others as they
    are.
    """
    return jax.random.fold_in(checks.one_key(key), zlib.crc32(name.encode()))


def normal(key: Key, shape: tuple[int, ...], dtype: DTypeLike = float) -> Array:
    """Standard normal draws; equal to `jax.random.normal(key, shape)` and quicker to compile."""
    return jax.random.normal(checks.one_key(key), (math.prod(shape),), dtype).reshape(shape)


def uniform(
    key: Key, shape: tuple[int, ...], dtype: DTypeLike = float, minval=0.0, maxval=1.0
) -> Array:
    """Draws from U[minval, maxval); equal to `jax.random.uniform(key, shape)`."""
    draws = jax.random.uniform(checks.one_key(key), (math.prod(shape),), dtype, minval, maxval)
    return draws.reshape(shape)


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
