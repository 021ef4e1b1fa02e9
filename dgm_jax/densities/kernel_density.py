"""Gaussian kernel density (Parzen) estimates: mean over n centres c_i of N(x; c_i, scale^2 I)."""

import math

import jax.numpy as jnp

from dgm_jax.core import Array, even_chunks, require, streamed_log_sum_exp, widened
from dgm_jax.densities import mixture

CHUNK = 100  # kernels that are summed at once: [points, CHUNK, dim] numbers in memory


def log_prob(x: Array, centres: Array, scale: Array | float) -> Array:
    """log 1/n sum_i N(x; c_i, scale^2 I), a hundred centres at a time; [m, D] -> [m], nats.

    As the scale falls to 0, the value goes to minus infinity away from the centres, and at isolated
    centres to infinity: -log n - D (log scale + log(2 pi) / 2).

    Args:
        x: points [m, D].
        centres: [n, D].
        scale: standard deviation of all kernels.

    Raises:
        ConfigError: there are no centres, or the points have other dimensions.
    """
    require(
        centres.ndim == 2 and len(centres) > 0 and x.ndim == 2 and x.shape[-1] == centres.shape[-1],
        f"x [m, D] and centres [n, D], n at least 1, must have one D; got {x.shape} and"
        f" {centres.shape}",
    )
    x, centres = widened(x, centres)
    log_weights = jnp.full(len(centres), -math.log(len(centres)), x.dtype)
    chunks = even_chunks(log_weights, CHUNK, -jnp.inf), even_chunks(centres, CHUNK, 0)

    def of_chunk(chunk):
        some_weights, some_centres = chunk
        return mixture.log_prob(x, some_weights, some_centres, jnp.asarray(scale, x.dtype))

    return streamed_log_sum_exp(of_chunk, chunks, start=jnp.full(x.shape[:1], -jnp.inf, x.dtype))
