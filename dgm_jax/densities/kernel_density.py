"""Gaussian kernel density (Parzen) estimates: mean over n centers c_i of N(x; c_i, scale^2 I)."""

import math

import jax.numpy as jnp

from dgm_jax.core import Array, even_chunks, require, streamed_log_sum_exp, widened
from dgm_jax.densities import mixture

CHUNK = 100  # kernels that are summed at once: [points, CHUNK, dim] numbers in memory


def log_prob(
    x: Array,
    centers: Array,
    scale: Array | float,
) -> Array:
    """log 1/n sum_i N(x; c_i, scale^2 I), computed for a hundred centers at a time.

    As the scale tends to 0, the value tends to minus infinity away from the centers, and to
    infinity at isolated centers: -log n - D (log scale + log(2 pi) / 2).

    Args:
        x: points [m, D].
        centers: [n, D].
        scale: standard deviation of all kernels.

    Returns:
        Nats [m].

    Raises:
        ConfigError: there are no centers, or the points have other dimensions.

    Example:
        >>> value = kernel_density.log_prob(jnp.zeros((1, 1)), jnp.zeros((3, 1)), 1.0)
        >>> print(f"{value[0]:.4f}")  # three equal kernels: -log(2 pi) / 2
        -0.9189
    """
    require(
        centers.ndim == 2 and len(centers) > 0 and x.ndim == 2 and x.shape[-1] == centers.shape[-1],
        f"x [m, D] and centers [n, D], n at least 1, must have one D; got {x.shape} and"
        f" {centers.shape}",
    )
    x, centers = widened(x, centers)
    log_weights = jnp.full(len(centers), -math.log(len(centers)), x.dtype)
    chunks = (even_chunks(log_weights, CHUNK, -jnp.inf), even_chunks(centers, CHUNK, 0))

    def of_chunk(chunk: tuple[Array, Array]) -> Array:
        chunk_weights, chunk_centers = chunk
        return mixture.log_prob(x, chunk_weights, chunk_centers, jnp.asarray(scale, x.dtype))

    start = jnp.full(x.shape[:1], -jnp.inf, x.dtype)
    return streamed_log_sum_exp(of_chunk, chunks, start)
