"""Draws that are differentiable functions of the parameters and of fixed noise."""

import jax.numpy as jnp

from dgm_jax.core import Array, Key, float_type, normal


def gaussian(key: Key, loc: Array, scale: Array) -> Array:
    """loc + scale * e with e ~ N(0, 1), over the broadcast shape of `loc` and `scale`.

    Noise and result are at least float32. `scale` is a standard
    deviation. Kingma and Welling (2014), section 2.4; Rezende et al. (2014).
    """
    loc, scale = jnp.asarray(loc), jnp.asarray(scale)
    dtype = float_type(loc.dtype, scale.dtype)
    noise = normal(key, jnp.broadcast_shapes(loc.shape, scale.shape), dtype)
    return loc.astype(dtype) + scale.astype(dtype) * noise
