"""Which modes of a known mixture a set of samples covers, each published convention under its own
name.

The mixture has K round modes `means` [K, D] of standard deviation `scale`. A sample belongs to the
mode that is nearest in units of `scale`, and is *valid* when that distance is at most
`threshold_sigmas`. Papers then count in different ways, and the numbers cannot be compared across
conventions (nor across protocols: see the source of each). A perfect sampler does not score 100 %:
in two dimensions P(distance <= 3) = 1 - exp(-9/2) = 98.89 %. Put `perfect_sampler` with the same
number of samples beside each row.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]  compiled
from scipy.special import gammainc

from dgm_jax.core import Array, DataError, Key, checks, float_type, require
from dgm_jax.densities import mixture
from dgm_jax.objectives import divergences


class ModeCoverage(NamedTuple):
    """Scalars. c_k is the number of valid samples at mode k, n = sum c_k, N the number of all
    samples, w the weights.

    modes: int32, number of k with c_k >= max(1, min_share N): modes that hold at least 1 % of *all*
        samples (the paired-discriminator reports of B. Sandlund). With 100 modes and more no
        sampler reaches that everywhere.
    valid: n / N in [0, 1]; "high-quality samples" in VEEGAN and PacGAN.
    modes_any_hit: int32, number of k with c_k >= 1 (Srivastava et al. 2017, VEEGAN; Lin et al.
        2018, PacGAN).
    mode_tv: total variation (sum_k |c_k / N - w_k| + (N - n) / N) / 2 between the histogram over
        the K modes and a bucket of invalid samples, and the target (w, 0).
    reverse_kl: KL(c / n || w) in nats, over the valid samples only, so invalid mass does not show
        in it (Lin et al. 2018, table 1); in [0, log K] for equal weights, log(K / k) for k modes
        covered evenly; infinite without a valid one.
    reverse_kl_bias: (K - 1) / (2 n), what `reverse_kl` of a perfect sampler is on average, to first
        order.
    entropy: of c / n in nats; log K - reverse_kl for equal weights; -inf without a valid sample.
    """

    modes: Array
    valid: Array
    modes_any_hit: Array
    mode_tv: Array
    reverse_kl: Array
    reverse_kl_bias: Array
    entropy: Array


def mode_coverage(
    samples: Array,
    means: Array,
    scale: Array | float,
    *,
    log_weights: Array | None = None,
    threshold_sigmas: float = 3.0,
    min_share: float = 0.01,
) -> ModeCoverage:
    """Coverage of the modes `means` by `samples`; works under jit and vmap.

    samples: [N, D]. means: [K, D]. scale: standard deviation, a scalar, [K] one for each mode, or
        [K, D].
    log_weights: [K], normalised log-probabilities of the modes; equal weights by default.
    threshold_sigmas: radius of validity in units of scale, `<=`; 3 in the papers above, 4 in some
        code.
    min_share: the share of all samples from which on a mode counts in `modes`.

    Memory is linear in N K. A sample that is not finite is invalid. Raises `ConfigError` or
    `DataError` for shapes that do not fit, and for two modes at most 2 scale apart: these make one
    mode, as where code repeats a ring's first centre as its last.
    """
    samples, means, scales = _mixture(samples, means, scale)
    _require_options(threshold_sigmas, min_share)
    return _coverage(
        samples, means, scales, _log_weights(log_weights, len(means)), threshold_sigmas, min_share
    )


def perfect_sampler(
    key: Key,
    means: Array,
    scale: Array | float,
    num_samples: int,
    *,
    log_weights: Array | None = None,
    threshold_sigmas: float = 3.0,
    min_share: float = 0.01,
) -> ModeCoverage:
    """The row of a generator that is the mixture itself: `mode_coverage` of `num_samples` fresh
    draws from it."""
    require(num_samples >= 1, f"num_samples must be at least 1; got {num_samples}")
    _, means, scales = _mixture(means, means, scale)
    _require_options(threshold_sigmas, min_share)
    log_weights = _log_weights(log_weights, len(means))
    return _perfect(key, means, scales, log_weights, num_samples, threshold_sigmas, min_share)


def expected_valid(threshold_sigmas: float = 3.0, dim: int = 2) -> float:
    """`valid` of a perfect sampler where modes do not overlap: P(chi^2_dim <= threshold_sigmas^2).

    1 - exp(-threshold_sigmas^2 / 2) in two dimensions (0.98889 at 3, not the 0.9973 of one
    dimension).
    """
    require(
        threshold_sigmas > 0 and dim >= 1,
        f"threshold {threshold_sigmas} must be positive, dim {dim} at least 1",
    )
    return float(gammainc(dim / 2, threshold_sigmas**2 / 2))


@functools.partial(jax.jit, static_argnames=("threshold_sigmas", "min_share"))
def _coverage(
    samples: Array,
    means: Array,
    scales: Array,
    log_weights: Array,
    threshold_sigmas: float,
    min_share: float,
) -> ModeCoverage:
    num_samples, num_modes = samples.shape[0], means.shape[0]
    squares = jnp.sum(jnp.square((samples[:, None, :] - means) / scales), axis=-1)
    nearest = jnp.argmin(squares, axis=-1)
    valid = jnp.min(squares, axis=-1) <= threshold_sigmas**2
    here = (nearest[:, None] == jnp.arange(num_modes)) & valid[:, None]
    counts = jnp.sum(here, axis=0, dtype=jnp.int32)

    num_valid = jnp.sum(counts)
    share, among_valid = counts / num_samples, counts / jnp.maximum(num_valid, 1)
    some = num_valid > 0
    inside = jnp.where(counts > 0, among_valid, 1)  # no 0 log 0, which is NaN on the way
    # In Python's double precision: in float32, 1 % of 10,000 could come out above or below 100.
    enough = max(1, math.ceil(min_share * num_samples - 1e-9))
    reverse_kl = divergences.kl(jnp.log(among_valid), log_weights)
    return ModeCoverage(
        modes=jnp.sum(counts >= enough, dtype=jnp.int32),
        valid=num_valid / num_samples,
        modes_any_hit=jnp.sum(counts > 0, dtype=jnp.int32),
        mode_tv=(
            jnp.sum(jnp.abs(share - jnp.exp(log_weights))) + (num_samples - num_valid) / num_samples
        )
        / 2,
        reverse_kl=jnp.where(some, reverse_kl, jnp.inf),
        reverse_kl_bias=(num_modes - 1) / (2 * num_valid) if num_modes > 1 else jnp.zeros(()),
        entropy=jnp.where(some, 0.0 - jnp.sum(xlogy(among_valid, inside)), -jnp.inf),
    )


@functools.partial(jax.jit, static_argnames=("num_samples", "threshold_sigmas", "min_share"))
def _perfect(
    key: Key,
    means: Array,
    scales: Array,
    log_weights: Array,
    num_samples: int,
    threshold_sigmas: float,
    min_share: float,
) -> ModeCoverage:
    scales = jnp.broadcast_to(scales, means.shape)
    samples = mixture.sample(key, num_samples, log_weights, means, scales).x
    return _coverage(samples, means, scales, log_weights, threshold_sigmas, min_share)


def _require_options(threshold_sigmas: float, min_share: float) -> None:
    require(threshold_sigmas > 0, f"threshold_sigmas must be positive; got {threshold_sigmas}")
    require(0 <= min_share <= 1, f"min_share must lie in [0, 1]; got {min_share}")


def _mixture(samples: Array, means: Array, scale: Array | float) -> tuple[Array, Array, Array]:
    """samples [N, D] and means [K, D] in at least float32, scales [K or 1, D or 1]."""
    shape = jnp.shape(means)
    require(len(shape) == 2 and shape[0] >= 1, f"means must be [K, D] with K >= 1; got {shape}")
    got = jnp.shape(samples)
    require(
        len(got) == 2 and got[0] >= 1 and got[1] == shape[1],
        f"samples must be [N, {shape[1]}] with N >= 1, the dimensions of the means {shape}; got"
        f" {got}",
        DataError,
    )
    allowed = ((), shape[:1], shape, (shape[0], 1))
    require(
        jnp.shape(scale) in allowed,
        f"scale must be a scalar, {shape[:1]} or {shape}; got {jnp.shape(scale)}",
    )
    if checks.is_concrete(scale):
        require(bool(np.all(np.asarray(scale) > 0)), f"scale must be positive; got {scale}")
        _require_separate(means, float(np.min(np.asarray(scale))))
    dtype = float_type(samples, means)
    scales = jnp.asarray(scale, dtype)
    scales = scales if scales.ndim == 2 else scales.reshape(-1, 1)
    return jnp.asarray(samples, dtype), jnp.asarray(means, dtype), scales


def _require_separate(means: Array | np.ndarray, scale: float) -> None:
    if not checks.is_concrete(means) or len(means) < 2:
        return
    means = np.asarray(means, np.float64)
    require(bool(np.isfinite(means).all()), "means must be finite")
    distance, neighbour = cKDTree(means).query(means, k=2)
    first = int(np.argmin(distance[:, 1]))
    require(
        distance[first, 1] > 2 * scale,
        f"means {first} and {int(neighbour[first, 1])} are {distance[first, 1]:.3g} apart, not more"
        f" than 2 scale = {2 * scale:.3g}: they are one mode, and counting them as two would"
        " overstate the coverage",
    )


def _log_weights(log_weights: Array | None, num_modes: int) -> Array:
    if log_weights is None:
        return jnp.full((num_modes,), -math.log(num_modes))
    got = jnp.shape(log_weights)
    require(
        got == (num_modes,),
        f"log_weights must be [{num_modes}], one for each of the means; got {got}",
    )
    if checks.is_concrete(log_weights):
        total = float(np.sum(np.exp(np.asarray(log_weights, np.float64))))
        require(
            abs(total - 1) < 1e-4,
            f"log_weights must be normalised; their exponentials add up to {total:.6g}",
        )
    return jnp.asarray(log_weights)
