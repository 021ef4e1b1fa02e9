"""Coverage of the modes of a known mixture by samples, under each published convention.

The mixture has K round modes `means` [K, D] with standard deviation `scale`. A sample belongs to
the mode that is nearest in units of `scale`, and it is *valid* if that distance is at most
`threshold_sigmas`. Papers differ in what they count next, and values are comparable neither across
conventions nor across protocols (see the source of each). A perfect sampler does not score 100 %:
in two dimensions P(distance <= 3) = 1 - exp(-9/2) = 98.89 %. Report `perfect_sampler` with the same
number of samples next to each value.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jax.scipy.special import xlogy

from dgm_jax.core import Array, DataError, Key, checks, float_type, require
from dgm_jax.densities import mixture
from dgm_jax.objectives import divergences


class ModeCoverage(NamedTuple):
    """Coverage of a mixture's modes under several conventions; all fields are scalars.

    c_k is the number of valid samples at mode k, n = sum_k c_k, N the number of all samples, and w
    the weights of the modes.

    Attributes:
        modes: int32, number of k with c_k >= max(1, min_share N): modes that hold at least 1 % of
            *all* samples (the paired-discriminator reports of B. Sandlund). With 100 modes or more
            no sampler reaches that everywhere.
        valid: n / N in [0, 1]; the "high-quality samples" of VEEGAN and PacGAN.
        modes_any_hit: int32, number of k with c_k >= 1 (Srivastava et al. 2017, VEEGAN; Lin et al.
            2018, PacGAN).
        mode_tv: total variation (sum_k |c_k / N - w_k| + (N - n) / N) / 2 between the histogram
            over the K modes and a bucket of invalid samples, and the target (w, 0).
        reverse_kl: KL(c / n || w) in nats, over valid samples only, so that it does not show
            invalid mass (Lin et al. 2018, table 1). In [0, log K] for equal weights, log(K / k) if
            k modes are covered evenly, infinite if no sample is valid.
        reverse_kl_bias: (K - 1) / (2 n), the mean of a perfect sampler's `reverse_kl` to first
            order.
        entropy: entropy of c / n in nats; log K - reverse_kl for equal weights, -inf if no sample
            is valid.
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
    """Measure how well samples cover the modes of a mixture; works under jit and vmap.

    Memory is linear in N K. A sample that is not finite counts as invalid.

    Args:
        samples: [N, D], with N >= 1.
        means: [K, D], the centers of the modes.
        scale: standard deviation of the modes: a scalar, [K] (one per mode) or [K, D].
        log_weights: [K], normalized log-probabilities of the modes; equal weights by default.
        threshold_sigmas: a sample is valid if its distance to the nearest mode is at most so many
            `scale`; 3 in VEEGAN and PacGAN, 4 in some code.
        min_share: the smallest share of all samples with which a mode counts in `modes`.

    Returns:
        A `ModeCoverage` of scalars.

    Raises:
        ConfigError: if means, scale, weights or options have a wrong shape or range, or if two
            modes are at most 2 scale apart: such a pair is one mode, as where code repeats a ring's
            first center as its last.
        DataError: if samples is not [N, D] with the dimension of the means.

    Example:
        >>> import jax.numpy as jnp
        >>> means = jnp.array([[0.0, 0.0], [9.0, 0.0]])
        >>> coverage = mode_coverage(jnp.array([[0.0, 0.1], [5.0, 0.0]]), means, 1.0)
        >>> int(coverage.modes), float(coverage.valid)
        (1, 0.5)
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
    """Measure fresh draws from the mixture itself: the values of a perfect generator.

    Args:
        key: random key for the draws.
        means: [K, D], the centers of the modes.
        scale: standard deviation of the modes: a scalar, [K] or [K, D].
        num_samples: number of draws; take that of the generator to compare with.
        log_weights: [K], normalized log-probabilities of the modes; equal weights by default.
        threshold_sigmas: as in `mode_coverage`.
        min_share: as in `mode_coverage`.

    Returns:
        `mode_coverage` of `num_samples` draws from the mixture.

    Raises:
        ConfigError: as `mode_coverage`, and if num_samples < 1.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> means = jnp.array([[0.0, 0.0], [9.0, 0.0]])
        >>> int(perfect_sampler(jax.random.key(0), means, 1.0, 1000).modes)
        2
    """
    require(num_samples >= 1, f"num_samples must be at least 1; got {num_samples}")
    _, means, scales = _mixture(means, means, scale)
    _require_options(threshold_sigmas, min_share)
    log_weights = _log_weights(log_weights, len(means))
    return _perfect(key, means, scales, log_weights, num_samples, threshold_sigmas, min_share)


def expected_valid(threshold_sigmas: float = 3.0, dim: int = 2) -> float:
    """Compute the share of valid samples of a perfect sampler whose modes do not overlap.

    P(chi^2_dim <= threshold_sigmas^2), which is 1 - exp(-threshold_sigmas^2 / 2) in two dimensions
    (0.98889 at 3, not the 0.9973 of one dimension).

    Args:
        threshold_sigmas: radius of validity, in standard deviations.
        dim: dimension of the samples.

    Returns:
        The expected `valid`, in [0, 1].

    Raises:
        ConfigError: if the threshold is not positive or dim < 1.

    Example:
        >>> round(expected_valid(), 4)
        0.9889
    """
    require(
        threshold_sigmas > 0 and dim >= 1,
        f"threshold {threshold_sigmas} must be positive, dim {dim} at least 1",
    )
    return float(scipy.special.gammainc(dim / 2, threshold_sigmas**2 / 2))


@functools.partial(jax.jit, static_argnames=("threshold_sigmas", "min_share"))
def _coverage(
    samples: Array,
    means: Array,
    scales: Array,
    log_weights: Array,
    threshold_sigmas: float,
    min_share: float,
) -> ModeCoverage:
    num_samples = samples.shape[0]
    num_modes = means.shape[0]
    squares = jnp.sum(jnp.square((samples[:, None, :] - means) / scales), axis=-1)
    nearest = jnp.argmin(squares, axis=-1)
    valid = jnp.min(squares, axis=-1) <= threshold_sigmas**2
    hits = (nearest[:, None] == jnp.arange(num_modes)) & valid[:, None]
    counts = jnp.sum(hits, axis=0, dtype=jnp.int32)

    num_valid = jnp.sum(counts)
    share = counts / num_samples
    share_of_valid = counts / jnp.maximum(num_valid, 1)
    any_valid = num_valid > 0
    # Counted in Python's double precision: in float32, 1 % of 10,000 could be above or below 100.
    least_count = max(1, math.ceil(min_share * num_samples - 1e-9))

    deviation = jnp.sum(jnp.abs(share - jnp.exp(log_weights)))
    invalid_share = (num_samples - num_valid) / num_samples
    reverse_kl = divergences.kl(jnp.log(share_of_valid), log_weights)
    argument = jnp.where(counts > 0, share_of_valid, 1)  # avoids the NaN gradient of 0 log 0
    entropy = 0.0 - jnp.sum(xlogy(share_of_valid, argument))
    return ModeCoverage(
        modes=jnp.sum(counts >= least_count, dtype=jnp.int32),
        valid=num_valid / num_samples,
        modes_any_hit=jnp.sum(counts > 0, dtype=jnp.int32),
        mode_tv=(deviation + invalid_share) / 2,
        reverse_kl=jnp.where(any_valid, reverse_kl, jnp.inf),
        reverse_kl_bias=(num_modes - 1) / (2 * num_valid) if num_modes > 1 else jnp.zeros(()),
        entropy=jnp.where(any_valid, entropy, -jnp.inf),
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
    """Check the arguments and convert them to at least float32.

    Returns:
        samples [N, D], means [K, D] and scales [K or 1, D or 1].
    """
    shape = jnp.shape(means)
    require(len(shape) == 2 and shape[0] >= 1, f"means must be [K, D] with K >= 1; got {shape}")
    got = jnp.shape(samples)
    fits = len(got) == 2 and got[0] >= 1 and got[1] == shape[1]
    require(
        fits,
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
    """Raise `ConfigError` if two of the means are at most 2 scale apart."""
    if not checks.is_concrete(means) or len(means) < 2:
        return
    means = np.asarray(means, np.float64)
    require(bool(np.isfinite(means).all()), "means must be finite")
    distances, neighbors = scipy.spatial.cKDTree(means).query(means, k=2)
    closest = int(np.argmin(distances[:, 1]))
    distance = distances[closest, 1]
    require(
        distance > 2 * scale,
        f"means {closest} and {int(neighbors[closest, 1])} are {distance:.3g} apart, not more"
        f" than 2 scale = {2 * scale:.3g}: they are one mode, and counting them as two would"
        " overstate the coverage",
    )


def _log_weights(log_weights: Array | None, num_modes: int) -> Array:
    """log_weights [K], checked; equal weights for None."""
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
            f"log_weights must be normalized; their exponentials add up to {total:.6g}",
        )
    return jnp.asarray(log_weights)
