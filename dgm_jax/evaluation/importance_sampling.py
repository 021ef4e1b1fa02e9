"""log p(x) of a model with latents, in one program whose memory does not grow with the number of samples."""

import math
from typing import Callable, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, require


class LikelihoodEstimate(NamedTuple):
    """log_prob [N] in nats; effective_sample_size [N], between 1 and the number of samples."""

    log_prob: Array
    effective_sample_size: Array


def bits_per_dimension(nats: Array, num_dimensions: int) -> Array:
    """nats / (D log 2): -log p(x) of D integers (pixels times channels) to bits for each, elementwise.

    For a density of dequantised pixels (x + u) / 256 add 8 bits: its unit of volume is 256^D times larger (Theis et al.
    2016, section 3.1).
    """
    require(num_dimensions >= 1, f"num_dimensions must be at least 1, got {num_dimensions}")
    return nats / (num_dimensions * math.log(2))


class _Sums(NamedTuple):
    """Running sums of weights and of their squares, both scaled by exp(-peak): [N] each."""

    peak: Array
    weights: Array
    squares: Array


def importance_weighted(
    key: Key, log_weights: Callable, x: Array, num_samples: int, *, batch_size: int = 100, samples_at_once: int = 10
) -> LikelihoodEstimate:
    """log (1/S) sum_s p(x, z_s) / q(z_s | x) for each row of x, z_s ~ q(. | x): Burda et al. 2016, eq. 8.

    log_weights: `(key, x[b, ...], n) -> [n, b]`, fresh draws of log p(x, z) - log q(z | x).
    x: [N, ...]; worked on in groups of `batch_size` rows, the last one filled up with repeated rows.
    num_samples: S, a multiple of `samples_at_once`, which are held at the same time.

    A lower bound in expectation. `effective_sample_size` near 1 says that it is loose.
    """
    require(num_samples >= 1 and samples_at_once >= 1, f"num_samples must be at least 1, got {num_samples}")
    at_once = min(samples_at_once, num_samples)
    require(
        num_samples % at_once == 0, f"num_samples={num_samples} must be a multiple of samples_at_once={samples_at_once}"
    )
    num_rows = x.shape[0]
    size = min(batch_size, num_rows)
    num_groups = -(-num_rows // size)
    groups = x[jnp.arange(num_groups * size) % num_rows].reshape(num_groups, size, *x.shape[1:])

    def one_group(group):
        index, rows = group
        key_group = jax.random.fold_in(key, index)

        def more(chunk, sums):
            return _add(sums, log_weights(jax.random.fold_in(key_group, chunk), rows, at_once))

        empty = _Sums(jnp.full(size, -jnp.inf), jnp.zeros(size), jnp.zeros(size))
        sums = jax.lax.fori_loop(0, num_samples // at_once, more, empty)
        log_prob = sums.peak + jnp.log(sums.weights) - jnp.log(num_samples)
        return LikelihoodEstimate(log_prob, sums.weights**2 / sums.squares)

    found = jax.lax.map(one_group, (jnp.arange(num_groups), groups))
    return jax.tree.map(lambda a: a.reshape(-1)[:num_rows], found)


def _add(sums: _Sums, log_weights: Array) -> _Sums:
    """With new log-weights [n, N]; the scale follows the largest weight seen."""
    peak = jnp.maximum(sums.peak, jnp.max(log_weights, axis=0))
    shift = jnp.where(jnp.isneginf(peak), 0.0, peak)
    old, new = jnp.exp(sums.peak - shift), jnp.exp(log_weights - shift)
    return _Sums(peak, sums.weights * old + jnp.sum(new, axis=0), sums.squares * old**2 + jnp.sum(new**2, axis=0))
