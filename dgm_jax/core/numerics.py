"""Random draws that compile quickly, shared by every room.

XLA's CPU compiler needs seconds for an N-dimensional threefry draw and milliseconds
for a flat one; the values are the same bit for bit. So draws here are flat, then reshaped.
"""

import math

import jax
import jax.numpy as jnp

from dgm_jax.core.types import Array, Key


def normal(key: Key, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """Standard normal draws; equal to `jax.random.normal(key, shape)` and quicker to compile."""
    return jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)


def uniform(key: Key, shape: tuple[int, ...], dtype=jnp.float32, minval=0.0, maxval=1.0) -> Array:
    """Draws from U[minval, maxval); equal to `jax.random.uniform(key, shape)`."""
    return jax.random.uniform(key, (math.prod(shape),), dtype, minval, maxval).reshape(shape)


def logistic_draw(key: Key, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """Standard logistic draws: log U - log(1 - U)."""
    return jax.random.logistic(key, (math.prod(shape),), dtype).reshape(shape)
