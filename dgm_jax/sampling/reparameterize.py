"""Draws that are differentiable functions of the parameters and of fixed noise."""

import jax.numpy as jnp

from dgm_jax.core import Array, Key, float_type, normal


def gaussian(
    key: Key,
    loc: Array,
    scale: Array,
) -> Array:
    """Gaussian draws loc + scale * e with e ~ N(0, 1).

    Kingma and Welling (2014), section 2.4; Rezende et al. (2014).

    Args:
        key: a typed key.
        loc: means, of any shape.
        scale: standard deviations, of a shape that broadcasts against `loc`.

    Returns:
        One draw for each entry of the broadcast shape; noise and result are at least float32.

    Example:
        >>> grad = jax.grad(lambda loc: gaussian(jax.random.key(0), loc, 2.0))
        >>> grad(1.0).item()  # d(loc + scale e) / d loc
        1.0
    """
    loc = jnp.asarray(loc)
    scale = jnp.asarray(scale)
    dtype = float_type(loc.dtype, scale.dtype)
    noise = normal(key, jnp.broadcast_shapes(loc.shape, scale.shape), dtype)
    return loc.astype(dtype) + scale.astype(dtype) * noise
