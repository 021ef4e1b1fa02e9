"""log q(z) of the aggregated posterior q(z) = 1/N sum_j q(z | x_j): exact, or from a batch.

Nats. The exact form sums over all N data points for each z, a chunk at a time. The batch forms see
B of the N.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, at_least_float32, require, widened
from dgm_jax.densities import aggregate, gaussian


class LogDensities(NamedTuple):
    """Log-densities of draws z_i ~ q(z | x_i), in nats.

    Attributes:
        posterior: log q(z_i | x_i), [*S, N].
        joint: log q(z_i), [*S, N].
        by_dimension: log q(z_id), the marginals, [*S, N, D].
    """

    posterior: Array
    joint: Array
    by_dimension: Array


def log_densities(
    z: Array,
    loc: Array,
    scale: Array,
    chunk_size: int = 256,
) -> LogDensities:
    """Densities of draws under their own posterior N(loc_i, scale_i^2) and the average of all N.

    By `densities.aggregate`, in tiles: `joint` as matrix products within 1e-3 nats, or from squared
    differences where the error of products could be larger.

    Args:
        z: draws [*S, N, D], z[..., i, :] from posterior i.
        loc: [N, D].
        scale: standard deviations [N, D].
        chunk_size: number of draws, and of posteriors, in a tile.

    Returns:
        The log-densities.

    Raises:
        ConfigError: shapes that do not fit, or a chunk_size below 1.

    Example:
        >>> z = jnp.array([[0.0], [100.0]])
        >>> densities = aggregate_density.log_densities(z, z, jnp.ones((2, 1)))
        >>> difference = densities.posterior - densities.joint
        >>> print(f"{difference[0]:.4f}")  # disjoint posteriors: log 2
        0.6931
    """
    _require_posteriors(z, loc, scale)
    require(chunk_size >= 1, f"chunk_size must be at least 1; got {chunk_size}")
    z, loc, scale = widened(z, loc, scale)
    log_posterior = jnp.sum(gaussian.log_prob(z, loc, scale), axis=-1)
    points = jnp.reshape(z, (-1, loc.shape[1]))
    joint = aggregate.log_prob(points, loc, scale, paired=True, chunk_size=chunk_size)
    by_dimension = aggregate.log_marginals(points, loc, scale, chunk_size=chunk_size)
    return LogDensities(
        log_posterior, joint.reshape(log_posterior.shape), by_dimension.reshape(z.shape)
    )


def minibatch_weighted(log_q: Array, num_data: int) -> Array:
    """log (1 / (N B)) sum_j q(z_i | x_j). Strongly biased.

    The average of a density over the batch is divided by another N: mutual information comes out
    too large, by up to log N + log B, more than there can be. Chen et al. 2018, section 4.1
    ("minibatch-weighted sampling").

    Args:
        log_q: [B, B, *E], log_q[i, j] = log q(z_i | x_j), with each draw's own posterior on the
            diagonal; the trailing axes, such as latent dimensions, are kept.
        num_data: N, the size of the data set.

    Returns:
        Nats [B, *E].

    Raises:
        ConfigError: another shape, or num_data below B.

    Example:
        >>> value = aggregate_density.minibatch_weighted(jnp.zeros((2, 2)), 4)
        >>> print(f"{value[0]:.4f}")  # -log 4
        -1.3863
    """
    _require_batch(log_q, num_data)
    return jax.nn.logsumexp(at_least_float32(log_q), axis=1) - math.log(num_data * log_q.shape[0])


def minibatch_stratified(log_q: Array, num_data: int) -> Array:
    """log sum_j W_ij q(z_i | x_j) with W_ii = 1 / N and (N - 1) / (N (B - 1)) elsewhere.

    Its exponential is unbiased for q(z_i), over batches of B different points out of N that contain
    point i; so its logarithm is low on average, and mutual information high. Each row of W sums to
    one.

    Chen et al. 2018, appendix C.2 ("minibatch stratified sampling"), mark one other point of the
    batch and give it the weight (N - B + 1) / (N (B - 1)), the rest 1 / (B - 1): the weights here
    are the mean over which one is marked, with the same expectation and no more variance. (The
    matrix of the authors' code misplaces the marks, so that rows do not sum to one.)

    Args:
        log_q: [B, B, *E], as in `minibatch_weighted`.
        num_data: N, the size of the data set.

    Returns:
        Nats [B, *E].

    Raises:
        ConfigError: another shape, num_data below B, or a batch of one.

    Example:
        >>> value = aggregate_density.minibatch_stratified(jnp.zeros((2, 2)), 4)
        >>> print(f"{abs(value[0]):.4f}")  # equal densities: log 1
        0.0000
    """
    _require_batch(log_q, num_data)
    batch = log_q.shape[0]
    require(
        batch >= 2 or num_data == 1,
        f"a batch of one says nothing about the other {num_data - 1} points",
    )
    log_q = at_least_float32(log_q)
    weights = stratified_weights(batch, num_data)
    weights = weights.reshape(weights.shape + (1,) * (log_q.ndim - 2)).astype(log_q.dtype)
    return jax.nn.logsumexp(log_q + jnp.log(weights), axis=1)


def stratified_weights(batch_size: int, num_data: int) -> Array:
    """The weights W of `minibatch_stratified`.

    Args:
        batch_size: B.
        num_data: N.

    Returns:
        W [B, B]; rows sum to one.

    Example:
        >>> aggregate_density.stratified_weights(2, 4).tolist()
        [[0.25, 0.75], [0.75, 0.25]]
    """
    others = (num_data - 1) / (num_data * max(batch_size - 1, 1))
    return jnp.where(jnp.eye(batch_size, dtype=bool), 1 / num_data, others)


def _require_posteriors(z: Array, loc: Array, scale: Array) -> None:
    shape = jnp.shape(loc)
    require(
        len(shape) == 2
        and min(shape) >= 1
        and jnp.shape(scale) == shape
        and jnp.shape(z)[-2:] == shape,
        f"loc and scale must be [N, D] and z [*S, N, D]; got loc {shape}, scale"
        f" {jnp.shape(scale)}, z {jnp.shape(z)}",
    )


def _require_batch(log_q: Array, num_data: int) -> None:
    shape = jnp.shape(log_q)
    require(
        jnp.ndim(log_q) >= 2 and shape[0] == shape[1] >= 1, f"log_q must be [B, B, *E]; got {shape}"
    )
    require(
        num_data >= shape[0],
        f"num_data must be the size of the data set, at least B = {shape[0]}; got {num_data}",
    )
