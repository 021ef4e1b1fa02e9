"""What every bijection asks of its input: floating vectors of one known length along the last
axis."""

import jax.numpy as jnp

from dgm_jax.core import Array, checks


def event(x: Array, dim: int) -> Array:
    """x as a floating array [*B, dim]; `ConfigError` for another last axis. Integers become
    float32."""
    x = checks.vectors(x, "x", dim)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)
