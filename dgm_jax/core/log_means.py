"""Means in log space, with what they are worth; sums in log space over chunks."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core.errors import require
from dgm_jax.core.types import Array, PyTree


class LogMeanExp(NamedTuple):
    """value: log of the mean of exp(T), nats.
    standard_error: of the value, by the delta method; NaN for one entry.
    effective_sample_size: (sum w)^2 / sum w^2 with w = exp(T); a small one says that neither can be
        trusted.
    """

    value: Array
    standard_error: Array
    effective_sample_size: Array


def log_mean_exp(values: Array, axis: int = -1) -> Array:
    """log of the mean of exp(values) over one axis: logsumexp less the log of its length."""
    return jax.nn.logsumexp(values, axis=axis) - jnp.log(values.shape[axis])


def effective_sample_size(log_weights: Array, axis: int = -1) -> Array:
    """(sum w)^2 / sum w^2 over one axis, between 1 and its length (Kong 1992); 0 where all w = 0.

    Small against the length where a few weights carry their mean.
    """
    # As shares: logarithms of both sums, at a level of some thousand nats, have no digits left for
    # their difference.
    shares = jax.nn.softmax(log_weights, axis=axis)
    some = jnp.any(log_weights > -jnp.inf, axis=axis, keepdims=True)
    size = 1 / jnp.sum(jnp.square(jnp.where(some, shares, 1.0)), axis=axis)
    return jnp.where(jnp.squeeze(some, axis), size, 0.0)


def estimate_log_mean_exp(log_weights: Array, axis: int | None = None) -> LogMeanExp:
    """`log_mean_exp` with its standard error, and the number of entries that carry it.

    Where every weight is zero the value is -inf, the size 0 and the error NaN.

    Args:
        log_weights: T, of any shape.
        axis: that of the mean; None for one mean over all entries.

    Raises:
        ConfigError: there are no entries.
    """
    shape = jnp.shape(log_weights)
    num = math.prod(shape) if axis is None else shape[axis]
    require(num >= 1, f"a mean needs at least one entry; got shape {shape}")
    log_weights = jnp.ravel(log_weights) if axis is None else jnp.asarray(log_weights)
    axis = 0 if axis is None else axis
    top = jax.lax.stop_gradient(jnp.max(log_weights, axis=axis, keepdims=True))
    weights = jnp.exp(log_weights - jnp.where(jnp.isneginf(top), 0.0, top))
    mean = jnp.mean(weights, axis=axis)
    error = (
        jnp.std(weights, axis=axis, ddof=1) / (math.sqrt(num) * mean)
        if num > 1
        else jnp.full_like(mean, jnp.nan)
    )
    value = log_mean_exp(log_weights, axis)
    return LogMeanExp(value, error, effective_sample_size(log_weights, axis))


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

    @jax.checkpoint
    def add(total, chunk):
        return jax.tree.map(jnp.logaddexp, total, of_chunk(chunk)), None

    return jax.lax.scan(add, start, chunks)[0]
