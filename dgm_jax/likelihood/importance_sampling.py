"""log p(x) of a model with latents, in one program whose memory does not grow with the number of
samples."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, Key, at_least_float32, require


class LogProbEstimate(NamedTuple):
    """Per example [N]: log_prob in nats; its standard error by the draws or chains; their effective
    number, and the mean acceptance of transitions, both None where there is no such thing."""

    log_prob: Array
    standard_error: Array
    effective_sample_size: Array | None = None
    acceptance: Array | None = None


def bits_per_dimension(nats: Array, num_dimensions: int) -> Array:
    """nats / (D log 2): -log p(x) of D integers (pixels times channels) to bits for each,
    elementwise.

    For a density of dequantised pixels (x + u) / 256 add 8 bits: its unit of volume is 256^D times
    larger (Theis et al. 2016, section 3.1).
    """
    whole = isinstance(num_dimensions, (int, np.integer))
    require(
        whole and num_dimensions >= 1,
        f"num_dimensions must be a number of at least 1, got {num_dimensions!r}",
    )
    return nats / (num_dimensions * math.log(2))


class _Sums(NamedTuple):
    """Running sums of weights and of their squares, both scaled by exp(-peak): [N] each.

    The squares, for the effective sample size, are why this is no `core.streamed_log_sum_exp`.
    """

    peak: Array
    weights: Array
    squares: Array


def importance_weighted(
    key: Key,
    log_weights: Callable,
    x: Array,
    num_samples: int,
    *,
    batch_size: int = 100,
    samples_at_once: int = 10,
) -> LogProbEstimate:
    """log (1/S) sum_s p(x, z_s) / q(z_s | x) for each row of x, z_s ~ q(. | x): Burda et al. 2016,
    eq. 8.

    log_weights: `(key, x[b, ...], n) -> [n, b]`, fresh draws of log p(x, z) - log q(z | x).
    x: [N, ...]; worked on in groups of `batch_size` rows, the last one filled up with repeated
        rows.
    num_samples: S, a multiple of `samples_at_once` (if that is smaller), which are held at the same
        time.

    A lower bound in expectation. `effective_sample_size`, between 1 and S, near 1 says that it is
    loose; where every weight is zero log_prob is -inf and the size 0. Raises ConfigError for counts
    that do not fit and for no rows.
    """
    at_once = chunk_of(num_samples, samples_at_once)

    def of_rows(key, rows):
        def draw(chunk):
            return at_least_float32(log_weights(jax.random.fold_in(key, chunk), rows, at_once))

        def more(chunk, sums):
            new = draw(chunk)
            require(
                new.shape == (at_once, size),
                f"log_weights(key, x[{size}, ...], {at_once}) must return [{at_once}, "
                f"{size}]; got {list(new.shape)}",
            )
            return _add(sums, new)

        size = rows.shape[0]
        zeros = jnp.zeros(size, jax.eval_shape(draw, 0).dtype)
        empty = _Sums(jnp.full_like(zeros, -jnp.inf), zeros, zeros)
        sums = jax.lax.fori_loop(0, num_samples // at_once, more, empty)
        log_prob = sums.peak + jnp.log(sums.weights) - jnp.log(num_samples)
        effective = jnp.where(
            sums.weights > 0, sums.weights**2 / jnp.where(sums.weights > 0, sums.squares, 1.0), 0.0
        )
        return LogProbEstimate(log_prob, _weight_error(effective, num_samples), effective)

    return in_groups(key, of_rows, batch_size, x)


def chunk_of(num_samples: int, samples_at_once: int, least: int = 1) -> int:
    """How many samples are held at once: the smaller of both, which must divide num_samples."""
    require(num_samples >= least, f"num_samples must be at least {least}, got {num_samples}")
    require(samples_at_once >= 1, f"samples_at_once must be at least 1, got {samples_at_once}")
    at_once = min(samples_at_once, num_samples)
    require(
        num_samples % at_once == 0,
        f"num_samples={num_samples} must be a multiple of samples_at_once={samples_at_once}",
    )
    return at_once


def _weight_error(effective_sample_size: Array, num: int) -> Array:
    """Delta method: the relative standard error of a mean of `num` weights is sqrt((num / ESS - 1)
    / (num - 1)); infinite for one, and where all weights are zero. What `core.log_mean_exp` has,
    from sums that were streamed."""
    if num == 1:
        return jnp.full_like(effective_sample_size, jnp.inf)
    some = effective_sample_size > 0
    share = num / jnp.where(some, effective_sample_size, num)
    return jnp.where(some, jnp.sqrt(jnp.maximum(share - 1, 0) / (num - 1)), jnp.inf)


def in_groups(key: Key, of_rows: Callable, batch_size: int, *arrays: Array):
    """of_rows(key, *rows) on groups of batch_size rows, one after another; the last is filled up
    with repeated rows."""
    # Not `core.even_chunks`: a row's draws are those of its group's key and its place in it, so the
    # groups are as large as was asked for; and a row of zeros may be no example of the model.
    require(batch_size >= 1, f"batch_size must be at least 1, got {batch_size}")
    num = arrays[0].shape[0]
    require(num >= 1, "there must be at least one row of x")
    size = min(batch_size, num)
    num_groups = -(-num // size)
    place = jnp.arange(num_groups * size) % num
    groups = tuple(a[place].reshape(num_groups, size, *a.shape[1:]) for a in arrays)
    found = jax.lax.map(
        lambda group: of_rows(jax.random.fold_in(key, group[0]), *group[1]),
        (jnp.arange(num_groups), groups),
    )
    return jax.tree.map(lambda a: a.reshape(-1)[:num], found)


def _add(sums: _Sums, log_weights: Array) -> _Sums:
    """With new log-weights [n, N]; the scale follows the largest weight seen."""
    peak = jnp.maximum(sums.peak, jnp.max(log_weights, axis=0))
    shift = jnp.where(jnp.isneginf(peak), 0.0, peak)
    old, new = jnp.exp(sums.peak - shift), jnp.exp(log_weights - shift)
    return _Sums(
        peak,
        sums.weights * old + jnp.sum(new, axis=0),
        sums.squares * old**2 + jnp.sum(new**2, axis=0),
    )
