"""What every bijection asks of its input: floating vectors of one known length along the last
axis."""

import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, require


def require_dim(dim: int, at_least: int = 1) -> None:
    """`ConfigError` unless `dim` is an integer of at least `at_least`."""
    whole = isinstance(dim, (int, np.integer)) and not isinstance(dim, bool)
    require(
        whole and dim >= at_least, f"dim must be an integer of at least {at_least}; got {dim!r}"
    )


def require_positive(value: float, name: str) -> None:
    """`ConfigError` unless a number known before tracing is positive."""
    require(
        isinstance(value, (int, float)) and value > 0,
        f"{name} must be a positive number; got {value!r}",
    )


def event(x: Array, dim: int) -> Array:
    """x as a floating array [*B, dim]; `ConfigError` for another last axis. Integers become
    float32."""
    x = jnp.asarray(x)
    require(x.ndim >= 1 and x.shape[-1] == dim, f"x must be [*B, {dim}]; got {x.shape}")
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)
