"""log q(z) of the aggregated posterior q(z) = 1/N sum_j q(z | x_j): exact and streamed, or
estimated from a batch.

Nats. The exact form is a sum over all N data points for each z, a chunk at a time. The batch forms
see B of the N.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import (
    Array,
    at_least_float32,
    even_chunks,
    require,
    streamed_log_sum_exp,
    widened,
)
from dgm_jax.densities import gaussian


class LogDensities(NamedTuple):
    """own [*S, N]: log q(z_i | x_i). joint [*S, N]: log q(z_i). by_dimension [*S, N, D]: log
    q(z_id), the marginals."""

    own: Array
    joint: Array
    by_dimension: Array


def log_densities(z: Array, loc: Array, scale: Array, chunk_size: int = 256) -> LogDensities:
    """Of draws z [*S, N, D] under their own posterior N(loc_i, scale_i^2) and under the average of
    all N.

    loc, scale: [N, D]. Running log-sum-exps over chunks of posteriors, for a chunk of draws at a
        time, so at most
    [chunk_size, chunk_size, D] numbers exist at once; gradients compute a chunk again instead of
    keeping it.
    """
    _require_posteriors(z, loc, scale)
    require(chunk_size >= 1, f"chunk_size must be at least 1; got {chunk_size}")
    z, loc, scale = widened(z, loc, scale)
    num, dim = loc.shape
    if z.size == 0:
        nothing = jnp.zeros(z.shape[:-1], z.dtype)
        return LogDensities(nothing, nothing, jnp.zeros(z.shape, z.dtype))
    own = jnp.sum(gaussian.log_prob(z, loc, scale), axis=-1)
    real = jnp.ones(num, bool)
    posteriors = tuple(
        even_chunks(x, chunk_size, fill) for x, fill in ((loc, 0.0), (scale, 1.0), (real, False))
    )
    points = even_chunks(jnp.reshape(z, (-1, dim)), chunk_size, 0.0)

    def of_points(some):
        return _streamed(some, posteriors)

    joint, by_dimension = jax.lax.map(of_points, points)
    rows = own.size
    joint, by_dimension = joint.reshape(-1)[:rows], by_dimension.reshape(-1, dim)[:rows]
    log_num = math.log(num)
    return LogDensities(
        own, joint.reshape(own.shape) - log_num, by_dimension.reshape(z.shape) - log_num
    )


def minibatch_weighted(log_q: Array, num_data: int) -> Array:
    """log (1 / (N B)) sum_j q(z_i | x_j): [B, B, *E] -> [B, *E]. Biased, and not by little.

    log_q[i, j] = log q(z_i | x_j), the own posteriors on the diagonal; trailing axes, such as
    latent dimensions, are kept. Chen et al. 2018, section 4.1 ("minibatch-weighted sampling"). The
    average of a density over the batch is divided by another N: mutual information comes out too
    large, up to log N + log B, more than there can be.
    """
    _require_batch(log_q, num_data)
    return jax.nn.logsumexp(at_least_float32(log_q), axis=1) - math.log(num_data * log_q.shape[0])


def minibatch_stratified(log_q: Array, num_data: int) -> Array:
    """log sum_j W_ij q(z_i | x_j) with W_ii = 1 / N and (N - 1) / (N (B - 1)) elsewhere: [B, B, *E]
    -> [B, *E].

    The exponential is unbiased for q(z_i), over batches of B different points out of N that hold
    point i; so its logarithm is low on average, and mutual information high. Each row of W sums to
    one. Arguments as `minibatch_weighted`.

    Chen et al. 2018, appendix C.2 ("minibatch stratified sampling"), mark one other point of the
    batch and give it the weight (N - B + 1) / (N (B - 1)), the rest 1 / (B - 1): the weights here
    are the mean over which one is marked, with the same expectation and no more variance. (The
    matrix of the authors' code misplaces the marks, so that rows do not sum to one.)
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
    """W [B, B] of `minibatch_stratified`; rows sum to one."""
    others = (num_data - 1) / (num_data * max(batch_size - 1, 1))
    return jnp.where(jnp.eye(batch_size, dtype=bool), 1 / num_data, others)


def _streamed(points: Array, posteriors: tuple[Array, ...]) -> tuple[Array, Array]:
    """Log of the sum of densities at points [P, D]: jointly [P] and for each dimension [P, D]."""

    def of_chunk(chunk):
        loc, scale, real = chunk
        elementwise = jnp.where(
            real[:, None], gaussian.log_prob(points[:, None], loc, scale), -jnp.inf
        )
        joint = jax.nn.logsumexp(jnp.sum(elementwise, axis=-1), axis=1)
        return joint, jax.nn.logsumexp(elementwise, axis=1)

    # A finite start adds exactly nothing, and unlike -inf it has a gradient.
    dtype = jnp.result_type(points, posteriors[0])
    lowest = jnp.full(points.shape, jnp.finfo(dtype).min / 4, dtype)
    return streamed_log_sum_exp(of_chunk, posteriors, start=(lowest[:, 0], lowest))


def _require_posteriors(z: Array, loc: Array, scale: Array) -> None:
    shape, other, points = jnp.shape(loc), jnp.shape(scale), jnp.shape(z)
    require(
        len(shape) == 2 and min(shape) >= 1 and other == shape and points[-2:] == shape,
        f"loc and scale must be [N, D] and z [*S, N, D]; got loc {shape}, scale {other}, z"
        f" {points}",
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
