"""Means in log space, with what they are worth; sums in log space over chunks."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core.errors import require
from dgm_jax.core.numerics import at_least_float32
from dgm_jax.core.types import Array, PyTree


class LogMeanExp(NamedTuple):
    """value: log of the mean of exp(T), nats.
    standard_error: of the value, by the delta method, without gradient; infinite for one entry.
    effective_sample_size: (sum w)^2 / sum w^2 with w = exp(T); a small one says that neither can be
        trusted.
    """

    value: Array
    standard_error: Array
    effective_sample_size: Array


def effective_sample_size(log_weights: Array, axis: int = -1) -> Array:
    """(sum w)^2 / sum w^2 over one axis, between 1 and its length (Kong 1992); 0 where all w = 0.

    Small against the length where a few weights carry their mean.
    """
    # As shares: logarithms of both sums, at a level of some thousand nats, have no digits left for
    # their difference.
    log_weights = at_least_float32(log_weights)
    # softmax of nothing but -inf would be NaN
    some = jnp.any(log_weights > -jnp.inf, axis=axis, keepdims=True)
    shares = jax.nn.softmax(jnp.where(some, log_weights, 0.0), axis=axis)
    size = 1 / jnp.sum(jnp.square(shares), axis=axis)
    return jnp.where(jnp.squeeze(some, axis), size, 0.0)


def log_mean_exp(log_weights: Array, axis: int | None = None) -> LogMeanExp:
    """log of the mean of exp(T), with its standard error and the number of entries that carry it.

    In at least float32. Where every weight is zero the value is -inf, the size 0 and the error
    infinite.

    Args:
        log_weights: T, of any shape.
        axis: that of the mean; None for one mean over all entries.

    Raises:
        ConfigError: there are no entries.
    """
    shape = jnp.shape(log_weights)
    num = math.prod(shape) if axis is None else shape[axis]
    require(num >= 1, f"a mean needs at least one entry; got shape {shape}")
    log_weights = at_least_float32(log_weights)
    log_weights = jnp.ravel(log_weights) if axis is None else log_weights
    axis = 0 if axis is None else axis
    value = jax.nn.logsumexp(log_weights, axis=axis) - jnp.log(num)
    error = _relative_error(jax.lax.stop_gradient(log_weights), axis)
    return LogMeanExp(value, error, effective_sample_size(log_weights, axis))


def _relative_error(log_weights: Array, axis: int) -> Array:
    """std(w) / (sqrt(n) mean(w)); infinite for one entry and where all w = 0."""
    num = log_weights.shape[axis]
    top = jnp.max(log_weights, axis=axis, keepdims=True)
    weights = jnp.exp(log_weights - jnp.where(jnp.isneginf(top), 0.0, top))
    mean = jnp.mean(weights, axis=axis)
    if num == 1:
        return jnp.full_like(mean, jnp.inf)
    some = mean > 0
    error = jnp.std(weights, axis=axis, ddof=1) / (math.sqrt(num) * jnp.where(some, mean, 1))
    return jnp.where(some, error, jnp.inf)


def streamed_log_sum_exp(of_chunk: Callable, chunks: PyTree, start: PyTree) -> PyTree:
    """Log of the sum of exp over all chunks, in memory for one of them.

    Gradients compute each chunk a second time instead of keeping it.

    Args:
        of_chunk: `chunk -> tree`, the log-sum-exps within a chunk.
        chunks: tree of arrays with a leading axis of chunks.
        start: tree as `of_chunk` gives it: of a first chunk, or so low that it adds nothing.

    Returns:
        The tree of the sums' logarithms.
    """

    if not jax.tree.leaves(chunks)[0].shape[0]:
        return start  # a scan of no steps has no types where nothing is compiled

    @jax.checkpoint
    def add(total, chunk):
        return jax.tree.map(jnp.logaddexp, total, of_chunk(chunk)), None

    return jax.lax.scan(add, start, chunks)[0]
