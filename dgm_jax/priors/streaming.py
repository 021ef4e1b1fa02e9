"""The log-density of a mixture with many components, a chunk of them at a time."""

import jax.numpy as jnp

from dgm_jax.core import Array, checks, even_chunks, streamed_log_sum_exp
from dgm_jax.densities import mixture


def streamed_log_prob(
    z: Array, log_weights: Array, loc: Array, scale: Array, chunk_size: int = 256
) -> Array:
    """Evaluate the log-density of a Gaussian mixture chunk by chunk.

    log sum_k w_k N(z; loc_k, diag(scale_k)^2).

    A scan over chunks of components carries the running log-sum-exp, so at most
    [*B, chunk_size, D] numbers exist at once; gradients compute each chunk a second time instead of
    storing it. The cost is O(B K D). The result equals `densities.mixture.log_prob` to rounding.

    Args:
        z: [*B, D].
        log_weights: [K], logarithms of weights that sum to 1.
        loc: [K, D], means, in units of z.
        scale: [K, D], standard deviations, in units of z.
        chunk_size: components evaluated at once.

    Returns:
        [*B], in nats.

    Raises:
        ConfigError: the last axis of z is not D, or chunk_size is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import priors
        >>> loc = jnp.array([[-1.0], [1.0]])
        >>> log_weights = jnp.log(jnp.array([0.5, 0.5]))
        >>> value = priors.streamed_log_prob(jnp.zeros(1), log_weights, loc, jnp.ones((2, 1)))
        >>> print(f"{value:.4f}")  # -1 / 2 - log(2 pi) / 2
        -1.4189
    """
    checks.whole(chunk_size, "chunk_size")
    z = checks.vectors(z, "z", loc.shape[1])

    def log_prob_of_chunk(chunk: tuple[Array, ...]) -> Array:
        return mixture.log_prob(z, *chunk)

    # The last chunk is filled up with components of weight 0 and ordinary location and scale, so
    # that neither their value nor their gradient has an effect.
    chunks = (
        even_chunks(log_weights, chunk_size, -jnp.inf),
        even_chunks(loc, chunk_size, 0.0),
        even_chunks(scale, chunk_size, 1.0),
    )
    first = log_prob_of_chunk(tuple(x[0] for x in chunks))
    return streamed_log_sum_exp(log_prob_of_chunk, tuple(x[1:] for x in chunks), first)
