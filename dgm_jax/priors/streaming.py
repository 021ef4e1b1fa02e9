"""The log-density of a mixture with many components, a chunk of them at a time."""

import jax.numpy as jnp

from dgm_jax.core import Array, checks, even_chunks, streamed_log_sum_exp
from dgm_jax.densities import mixture


def streamed_log_prob(
    z: Array, log_weights: Array, loc: Array, scale: Array, chunk_size: int = 256
) -> Array:
    """log sum_k w_k N(z; loc_k, scale_k^2) for z [*B, D], log_weights [K], loc and scale [K, D]:
    [*B] in nats.

    A scan over chunks of components carries the running log-sum-exp, so at most [*B, chunk_size, D]
    numbers exist at once; gradients compute each chunk a second time instead of keeping it. The
    work is O(B K D). Equal to `densities.mixture.log_prob` to rounding.
    """
    checks.whole(chunk_size, "chunk_size")
    z = checks.vectors(z, "z", loc.shape[1])

    def of_chunk(chunk):
        return mixture.log_prob(z, *chunk)

    # Padding has no weight and an ordinary place, so that neither its value nor its gradient
    # disturbs.
    stacked = tuple(
        even_chunks(x, chunk_size, fill)
        for x, fill in ((log_weights, -jnp.inf), (loc, 0.0), (scale, 1.0))
    )
    start = of_chunk(tuple(x[0] for x in stacked))
    return streamed_log_sum_exp(of_chunk, tuple(x[1:] for x in stacked), start)
