"""Means of exponentials in log space with their errors, and log-sum-exps over chunks."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core.errors import require
from dgm_jax.core.numerics import at_least_float32
from dgm_jax.core.types import Array, PyTree


class LogMeanExp(NamedTuple):
    """The logarithm of a mean of weights w = exp(T), and how far it can be trusted.

    Attributes:
        value: log of the mean of exp(T), in nats.
        standard_error: of the value, by the delta method, in nats, without gradient; infinite for
            a single entry.
        effective_sample_size: (sum w)^2 / sum w^2. If it is small, trust neither the value nor its
            error.
    """

    value: Array
    standard_error: Array
    effective_sample_size: Array


def effective_sample_size(log_weights: Array, axis: int = -1) -> Array:
    """Effective sample size (sum w)^2 / sum w^2 along one axis (Kong 1992).

    It is small compared with the length of the axis where a few weights dominate the mean.

    Args:
        log_weights: log w, of any shape, in nats.
        axis: the axis of the sums.

    Returns:
        Values between 1 and the length of the axis, which is removed; 0 where all weights are 0.

    Example:
        >>> print(f"{core.effective_sample_size(jnp.zeros(4)):.1f}")
        4.0
    """
    # Normalize first: at a level of thousands of nats the logarithms of both sums would have no
    # digits left for their difference.
    log_weights = at_least_float32(log_weights)
    # The softmax of a row of -inf only would be NaN.
    has_weight = jnp.any(log_weights > -jnp.inf, axis=axis, keepdims=True)
    log_weights = jnp.where(has_weight, log_weights, 0.0)
    shares = jax.nn.softmax(log_weights, axis=axis)
    size = 1 / jnp.sum(jnp.square(shares), axis=axis)
    has_weight = jnp.squeeze(has_weight, axis)
    return jnp.where(has_weight, size, 0.0)


def log_mean_exp(log_weights: Array, axis: int | None = None) -> LogMeanExp:
    """Logarithm of the mean of exp(T), with its standard error and effective sample size.

    Computed in at least float32. Where every weight is zero the value is -inf, the effective
    sample size 0 and the error infinite.

    Args:
        log_weights: T, of any shape, in nats.
        axis: axis of the mean; None for one mean over all entries.

    Returns:
        A `LogMeanExp` of arrays without that axis.

    Raises:
        ConfigError: there are no entries.

    Example:
        >>> print(f"{core.log_mean_exp(jnp.log(jnp.array([1.0, 3.0]))).value:.4f}")  # log 2
        0.6931
    """
    shape = jnp.shape(log_weights)
    num = math.prod(shape) if axis is None else shape[axis]
    require(num >= 1, f"a mean needs at least one entry; got shape {shape}")
    log_weights = at_least_float32(log_weights)
    if axis is None:
        log_weights = jnp.ravel(log_weights)
        axis = 0
    value = jax.nn.logsumexp(log_weights, axis=axis) - jnp.log(num)
    fixed = jax.lax.stop_gradient(log_weights)
    error = _relative_error(fixed, axis)
    sample_size = effective_sample_size(log_weights, axis)
    return LogMeanExp(value, error, sample_size)


def _relative_error(log_weights: Array, axis: int) -> Array:
    """std(w) / (sqrt(n) mean(w)); infinite for one entry and where all w = 0."""
    num = log_weights.shape[axis]
    top = jnp.max(log_weights, axis=axis, keepdims=True)
    top = jnp.where(jnp.isneginf(top), 0.0, top)
    weights = jnp.exp(log_weights - top)
    mean = jnp.mean(weights, axis=axis)
    if num == 1:
        return jnp.full_like(mean, jnp.inf)
    has_weight = mean > 0
    scale = math.sqrt(num) * jnp.where(has_weight, mean, 1)
    deviation = jnp.std(weights, axis=axis, ddof=1)
    return jnp.where(has_weight, deviation / scale, jnp.inf)


def streamed_log_sum_exp(
    of_chunk: Callable[[PyTree], PyTree],
    chunks: PyTree,
    start: PyTree,
) -> PyTree:
    """Log-sum-exp over all chunks, with one chunk in memory at a time.

    Gradients recompute each chunk instead of storing it.

    Args:
        of_chunk: `chunk -> tree`, the log-sum-exps within a chunk, in nats.
        chunks: tree of arrays with a leading axis of chunks.
        start: tree of the form that `of_chunk` returns: the values of a first chunk, or values so
            low that they add nothing.

    Returns:
        The tree of the logarithms of the total sums.

    Example:
        >>> total = core.streamed_log_sum_exp(
        ...     lambda chunk: jax.nn.logsumexp(chunk), jnp.zeros((3, 2)), jnp.float32(-jnp.inf)
        ... )
        >>> print(f"{total:.4f}")  # log 6
        1.7918
    """
    leaves = jax.tree.leaves(chunks)
    num_chunks = leaves[0].shape[0]
    if not num_chunks:
        return start  # under disable_jit, a scan of no steps cannot infer its types

    @jax.checkpoint
    def add(total: PyTree, chunk: PyTree) -> tuple[PyTree, None]:
        total = jax.tree.map(jnp.logaddexp, total, of_chunk(chunk))
        return total, None

    total, _ = jax.lax.scan(add, start, chunks)
    return total
