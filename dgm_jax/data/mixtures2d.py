"""Mixtures of equal, round Gaussians in the plane: modes on a ring, on a grid or anywhere."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, ConfigError, Key, checks, normal, require, uniform
from dgm_jax.data.dataset import Density2D
from dgm_jax.data.limits2d import LARGEST, MAX_COMPONENTS, count, finite, positive

Numbers = Array | np.ndarray | Sequence[float]
Points = Array | np.ndarray | Sequence[Sequence[float]]

COMPARED = 512  # up to this many components a draw is compared with all thresholds, above searched


def isotropic_mixture(
    means: Points,
    weights: Numbers,
    scale: float,
    *,
    has_modes: bool = True,
) -> Density2D:
    """Mixture sum_k w_k N(x; m_k, scale^2 I), of which most densities of this module are made.

    log p(x) = logsumexp_k [log w_k - |x - m_k|^2 / (2 scale^2)] - log(2 pi scale^2).

    Args:
        means: [K, 2].
        weights: [K], positive; they are normalized here.
        scale: standard deviation of each component.
        has_modes: whether the components count as modes (False for a curve made of many).

    Returns:
        The density.

    Raises:
        ConfigError: for shapes that do not fit, or numbers out of range.
    """
    scale = positive(scale, "scale")
    points, shares = _components(means, weights)
    sums = np.cumsum(shares)
    centers = jnp.asarray(points, jnp.float32)
    log_weights = jnp.asarray(np.log(shares), jnp.float32)
    thresholds = jnp.asarray(sums[:-1], jnp.float32)
    log_normalizer = log_of(2 * math.pi * scale**2)

    def sample(key: Key, n: int) -> Array:
        key_mode, key_noise = jax.random.split(key)
        uniforms = uniform(key_mode, (n,))
        modes = _modes(uniforms, thresholds)
        noise = normal(key_noise, (n, 2))
        return centers[modes] + scale * noise

    def log_prob(x: Array) -> Array:
        noise = (x[..., None, :] - centers) / scale
        squares = jnp.sum(noise**2, axis=-1)
        terms = log_weights - 0.5 * squares
        log_sum = jax.nn.logsumexp(terms, axis=-1)
        return log_sum - log_normalizer

    if not has_modes:
        return Density2D(sample, log_prob)
    if checks.is_known(scale):
        scale = float(scale)
    return Density2D(sample, log_prob, centers, scale, log_weights)


def _components(means: Points, weights: Numbers) -> tuple[Array | np.ndarray, np.ndarray]:
    """The means [K, 2] and the normalized weights [K], after a check of both."""
    points = _numbers(means, "means") if checks.is_known(means) else jnp.asarray(means)
    shares = _numbers(weights, "weights")
    require(
        points.ndim == 2 and points.shape[1] == 2,
        f"means must have shape (K, 2), got {points.shape}",
    )
    num_components = len(points)
    require(
        shares.shape == points.shape[:1],
        f"{num_components} means need as many weights, got shape {shares.shape}",
    )
    count(num_components, "the number of components")
    fits = bool(np.all(shares > 0))
    require(fits, f"weights must be positive, got {shares.tolist()}")
    return points, shares / shares.sum()


def log_of(value: Any) -> Any:
    """Compute the logarithm of a number that may be a tracer, by Python's math if it is known.

    Args:
        value: a positive number.

    Returns:
        Its natural logarithm.
    """
    return math.log(value) if checks.is_known(value) else jnp.log(value)


def ring(num_modes: int = 8, radius: float = 2.0, scale: float = 0.1) -> Density2D:
    """Equal Gaussians on a circle; mode k is at the angle 2 pi k / num_modes.

    The centers are distinct: `linspace(0, 2 pi, 8)` with both ends gives 7, a mistake that public
    code has copied, and which the distance between centers (more than 6 scale) excludes. PacGAN
    (Lin et al. 2018) uses `radius=1, scale=0.01`.

    Args:
        num_modes: number of modes.
        radius: of the circle.
        scale: standard deviation of each mode.

    Returns:
        The density, with its modes.

    Raises:
        ConfigError: for numbers out of range, or modes at most 6 scale apart.
    """
    num_modes = count(num_modes, "num_modes")
    radius = finite(radius, "radius")
    scale = positive(scale, "scale")
    angles = 2 * np.pi * np.arange(num_modes) / num_modes
    cos = np.cos(angles)
    sin = np.sin(angles)
    directions = np.stack([cos, sin], axis=-1)
    means = radius * directions
    require_separated(means, scale)
    return isotropic_mixture(means, np.ones(num_modes), scale)


def grid(side: int = 5, spacing: float = 1.5, scale: float = 0.1) -> Density2D:
    """Equal Gaussians on a square grid, centered on the origin.

    PacGAN's grid {-4, -2, 0, 2, 4}^2 is `spacing=2, scale=0.05`.

    Args:
        side: number of modes along a side.
        spacing: distance between neighbors.
        scale: standard deviation of each mode.

    Returns:
        The density, with its side^2 modes.

    Raises:
        ConfigError: for numbers out of range, or modes at most 6 scale apart.
    """
    side = count(side, "side", math.isqrt(MAX_COMPONENTS))
    spacing = finite(spacing, "spacing")
    scale = positive(scale, "scale")
    middle = (side - 1) / 2
    axis = spacing * (np.arange(side) - middle)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    means = np.stack([x, y], axis=-1)
    means = means.reshape(-1, 2)
    require_separated(means, scale)
    return isotropic_mixture(means, np.ones(side * side), scale)


def mixture(
    weights: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4),
    means: tuple[tuple[float, float], ...] = ((-1.5, -1.5), (-1.5, 1.5), (1.5, -1.5), (1.5, 1.5)),
    scale: float = 0.3,
) -> Density2D:
    """Round Gaussians of equal width with the given weights and means; they may overlap.

    Args:
        weights: of the components; they are normalized.
        means: of the components.
        scale: standard deviation of each component.

    Returns:
        The density, with its modes.

    Raises:
        ConfigError: for shapes that do not fit, or numbers out of range.
    """
    return isotropic_mixture(means, weights, scale)


def require_separated(means: np.ndarray, scale: float) -> None:
    """Check that modes can be told apart: any two centers are more than 6 scale apart.

    Args:
        means: [K, 2].
        scale: standard deviation of the modes.

    Raises:
        ConfigError: if two are closer; nothing is checked if the numbers are traced.
    """
    num_modes = len(means)
    if num_modes < 2:
        return
    if not (checks.is_known(scale) and checks.is_known(means)):
        return
    means = np.asarray(means, np.float64)
    # Row by row: all pairs of some thousand centres would take hundreds of megabytes.
    smallest = []
    for k in range(1, num_modes):
        distances = np.linalg.norm(means[k:] - means[k - 1], axis=-1)
        smallest.append(float(distances.min()))
    nearest = min(smallest)
    limit = 6 * scale
    require(
        nearest > limit,
        f"the nearest of {num_modes} centres are {nearest:.4g} apart; modes need more than 6 scale"
        f" = {limit:.4g}",
    )


def _modes(u: Array, thresholds: Array) -> Array:
    """How many of the sorted thresholds are at most u."""
    if len(thresholds) <= COMPARED:
        return jnp.sum(u[:, None] >= thresholds, axis=-1)
    return jnp.searchsorted(thresholds, u, side="right")


def _numbers(values: Points | Numbers, name: str) -> np.ndarray:
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} must be numbers: {error}") from error
    fits = bool(np.all(np.abs(numbers) <= LARGEST))
    require(fits, f"{name} must be finite, at most {LARGEST:g}")
    return numbers
