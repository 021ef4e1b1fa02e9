"""What every prior over vectors asks of its input."""

import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, require


def require_count(value: int, name: str) -> None:
    """`ConfigError` unless `value` is an integer of at least 1."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    require(whole and value >= 1, f"{name} must be an integer of at least 1; got {value!r}")


def latents(z: Array, dim: int) -> Array:
    """z as an array [*B, dim]; `ConfigError` for another last axis."""
    z = jnp.asarray(z)
    require(z.ndim >= 1 and z.shape[-1] == dim, f"z must be [*B, {dim}]; got {z.shape}")
    return z
