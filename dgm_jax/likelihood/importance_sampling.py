"""Importance-weighted estimates of log p(x), in memory that does not grow with the samples."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, Key, PyTree, at_least_float32, require


class LogProbEstimate(NamedTuple):
    """An estimate of log p(x) for each of N examples.

    Attributes:
        log_prob: [N], in nats.
        standard_error: [N], in nats, from the spread of the draws or chains.
        effective_sample_size: [N], of the draws or chains; None if not applicable.
        acceptance: [N], mean acceptance of the transitions; None if not applicable.
    """

    log_prob: Array
    standard_error: Array
    effective_sample_size: Array | None = None
    acceptance: Array | None = None


def bits_per_dimension(nats: Array, num_dimensions: int) -> Array:
    """nats / (D log 2): converts -log p(x) of D integers (pixels times channels) to bits for each.

    For a density of dequantized pixels (x + u) / 256 add 8 bits: its unit of volume is 256^D times
    larger (Theis et al. 2016, section 3.1).

    Args:
        nats: -log p(x), of any shape.
        num_dimensions: D.

    Returns:
        Bits per dimension, elementwise.

    Raises:
        ConfigError: num_dimensions is not an integer of at least 1.

    Example:
        >>> print(f"{bits_per_dimension(3 * np.log(2), 3):.4f}")
        1.0000
    """
    whole = isinstance(num_dimensions, (int, np.integer))
    require(
        whole and num_dimensions >= 1,
        f"num_dimensions must be a number of at least 1, got {num_dimensions!r}",
    )
    return nats / (num_dimensions * math.log(2))


class _Sums(NamedTuple):
    """Running sums of weights and of their squares, scaled by exp(-peak) and exp(-2 peak).

    The squares, for the effective sample size, are why this is no `core.streamed_log_sum_exp`.

    Attributes:
        peak: the largest log-weight so far, [N].
        weights: [N].
        squares: [N].
    """

    peak: Array
    weights: Array
    squares: Array


def importance_weighted(
    key: Key,
    log_weights: Callable[[Key, Array, int], Array],
    x: Array,
    num_samples: int,
    *,
    batch_size: int = 100,
    samples_at_once: int = 10,
) -> LogProbEstimate:
    """log (1/S) sum_s p(x, z_s) / q(z_s | x) for each row of x, z_s ~ q(. | x).

    A lower bound in expectation (Burda et al. 2016, eq. 8). `effective_sample_size` lies between 1
    and S; near 1, one sample carries all the weight and the bound is loose. Where every weight is
    zero, log_prob is -inf and the size 0.

    Args:
        key: a typed key.
        log_weights: `(key, x[b, ...], n) -> [n, b]`, fresh draws of log p(x, z) - log q(z | x).
        x: [N, ...].
        num_samples: S, a multiple of `samples_at_once` (if that is smaller).
        batch_size: rows of x that are processed at once; the last group is filled up with repeated
            rows.
        samples_at_once: samples held in memory at once.

    Returns:
        A `LogProbEstimate`: log_prob and its standard error in nats, and the effective sample size.

    Raises:
        ConfigError: numbers of samples that do not fit, no rows, or log-weights of another shape.

    Example:
        >>> estimate = importance_weighted(
        ...     jax.random.key(0), lambda key, x, n: jnp.full((n, len(x)), -3.0), jnp.zeros(2), 20
        ... )
        >>> estimate.log_prob.tolist()  # equal weights exp(-3)
        [-3.0, -3.0]
    """
    at_once = chunk_of(num_samples, samples_at_once)

    def of_rows(key: Key, rows: Array) -> LogProbEstimate:
        size = rows.shape[0]

        def draw(chunk: Array | int) -> Array:
            return at_least_float32(log_weights(jax.random.fold_in(key, chunk), rows, at_once))

        def more(chunk: Array, sums: _Sums) -> _Sums:
            new = draw(chunk)
            require(
                new.shape == (at_once, size),
                f"log_weights(key, x[{size}, ...], {at_once}) must return [{at_once}, "
                f"{size}]; got {list(new.shape)}",
            )
            return _add(sums, new)

        zeros = jnp.zeros(size, jax.eval_shape(draw, 0).dtype)
        empty = _Sums(jnp.full_like(zeros, -jnp.inf), zeros, zeros)
        sums = jax.lax.fori_loop(0, num_samples // at_once, more, empty)
        log_prob = sums.peak + jnp.log(sums.weights) - jnp.log(num_samples)
        has_weight = sums.weights > 0
        effective = sums.weights**2 / jnp.where(has_weight, sums.squares, 1.0)
        effective = jnp.where(has_weight, effective, 0.0)
        return LogProbEstimate(log_prob, _weight_error(effective, num_samples), effective)

    return in_groups(key, of_rows, batch_size, x)


def chunk_of(
    num_samples: int,
    samples_at_once: int,
    least: int = 1,
) -> int:
    """How many samples are held at once: the smaller of both, which must divide num_samples.

    Args:
        num_samples: in all.
        samples_at_once: in memory.
        least: the smallest `num_samples` allowed.

    Returns:
        The number of samples held at once.

    Raises:
        ConfigError: numbers that do not fit.
    """
    require(num_samples >= least, f"num_samples must be at least {least}, got {num_samples}")
    require(samples_at_once >= 1, f"samples_at_once must be at least 1, got {samples_at_once}")
    at_once = min(samples_at_once, num_samples)
    require(
        num_samples % at_once == 0,
        f"num_samples={num_samples} must be a multiple of samples_at_once={samples_at_once}",
    )
    return at_once


def _weight_error(effective_sample_size: Array, num: int) -> Array:
    """Relative standard error of a mean of `num` weights, from their effective sample size.

    By the delta method it is sqrt((num / ESS - 1) / (num - 1)); infinite for a single weight, and
    where all weights are zero. `core.log_mean_exp` has the same from weights in memory.
    """
    if num == 1:
        return jnp.full_like(effective_sample_size, jnp.inf)
    has_weight = effective_sample_size > 0
    share = num / jnp.where(has_weight, effective_sample_size, num)
    return jnp.where(has_weight, jnp.sqrt(jnp.maximum(share - 1, 0) / (num - 1)), jnp.inf)


def in_groups(
    key: Key,
    of_rows: Callable[..., PyTree],
    batch_size: int,
    *arrays: Array,
) -> PyTree:
    """Apply a function to groups of rows, one after another.

    Args:
        key: a typed key; group i gets `fold_in(key, i)`.
        of_rows: `(key, *rows) -> tree of [rows]`.
        batch_size: rows in a group; the last one is filled up with repeated rows.
        *arrays: [N, ...] each.

    Returns:
        The tree, with arrays [N].

    Raises:
        ConfigError: no rows, or a batch_size below 1.
    """
    # Not `core.even_chunks`: a row's draws are determined by its group's key and its position in
    # the group, so groups are as large as was asked for; and a row of zeros may be no example of
    # the model.
    require(batch_size >= 1, f"batch_size must be at least 1, got {batch_size}")
    num = arrays[0].shape[0]
    require(num >= 1, "there must be at least one row of x")
    size = min(batch_size, num)
    num_groups = -(-num // size)
    position = jnp.arange(num_groups * size) % num
    groups = tuple(a[position].reshape(num_groups, size, *a.shape[1:]) for a in arrays)
    results = jax.lax.map(
        lambda group: of_rows(jax.random.fold_in(key, group[0]), *group[1]),
        (jnp.arange(num_groups), groups),
    )
    return jax.tree.map(lambda a: a.reshape(-1)[:num], results)


def _add(sums: _Sums, log_weights: Array) -> _Sums:
    """Add log-weights [n, N]; the scale follows the largest weight so far."""
    peak = jnp.maximum(sums.peak, jnp.max(log_weights, axis=0))
    shift = jnp.where(jnp.isneginf(peak), 0.0, peak)
    old = jnp.exp(sums.peak - shift)
    new = jnp.exp(log_weights - shift)
    return _Sums(
        peak,
        sums.weights * old + jnp.sum(new, axis=0),
        sums.squares * old**2 + jnp.sum(new**2, axis=0),
    )
