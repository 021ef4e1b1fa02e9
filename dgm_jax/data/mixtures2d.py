"""Mixtures of equal, round Gaussians in the plane: modes on a ring or a grid, and curves."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, ConfigError, Key, checks, normal, require
from dgm_jax.data.dataset import Density2D
from dgm_jax.data.limits2d import LARGEST, MAX_COMPONENTS, MAX_TURNS, count, finite, positive

COMPARED = 512  # up to so many components a sample is compared with each, above it searches


def isotropic_mixture(means, weights, scale: float, *, has_modes: bool = True) -> Density2D:
    """sum_k w_k N(x; m_k, scale^2 I): the density that most others here are made of.

    log p(x) = logsumexp_k [log w_k - |x - m_k|^2 / (2 scale^2)] - log(2 pi scale^2).
    means: `[K, 2]`. weights: `[K]`, positive, normalised here.
    has_modes: whether the components count as modes (False for a curve made of many).
    """
    scale = positive(scale, "scale")
    means = _numbers(means, "means") if checks.is_known(means) else jnp.asarray(means)
    weights = _numbers(weights, "weights")
    require(
        means.ndim == 2 and means.shape[1] == 2, f"means must have shape (K, 2), got {means.shape}"
    )
    require(
        weights.shape == means.shape[:1],
        f"{len(means)} means need as many weights, got shape {weights.shape}",
    )
    count(len(means), "the number of components")
    require(bool(np.all(weights > 0)), f"weights must be positive, got {weights.tolist()}")
    weights = weights / weights.sum()
    centres, log_weights = (
        jnp.asarray(means, jnp.float32),
        jnp.asarray(np.log(weights), jnp.float32),
    )
    thresholds = jnp.asarray(np.cumsum(weights)[:-1], jnp.float32)
    log_normalizer = log_of(2 * math.pi * scale**2)

    def sample(key: Key, n: int) -> Array:
        key_mode, key_noise = jax.random.split(key)
        modes = _modes(jax.random.uniform(key_mode, (n,)), thresholds)
        return centres[modes] + scale * normal(key_noise, (n, 2))

    def log_prob(x: Array) -> Array:
        scaled = (x[..., None, :] - centres) / scale
        return (
            jax.nn.logsumexp(log_weights - 0.5 * jnp.sum(scaled**2, axis=-1), axis=-1)
            - log_normalizer
        )

    if not has_modes:
        return Density2D(sample, log_prob)
    scale = float(scale) if checks.is_known(scale) else scale
    return Density2D(sample, log_prob, centres, scale, log_weights)


def log_of(value):
    """log of a number, by Python where it is known: a setting may be traced."""
    return math.log(value) if checks.is_known(value) else jnp.log(value)


def ring(num_modes: int = 8, radius: float = 2.0, scale: float = 0.1) -> Density2D:
    """Equal Gaussians on a circle; mode k stands at the angle 2 pi k / num_modes.

    The centres are distinct: `linspace(0, 2 pi, 8)` with both ends gives 7, a mistake that public
    code has copied, and is refused here by the distance of the centres (more than 6 scale).
    PacGAN (Lin et al. 2018) uses `radius=1, scale=0.01`.
    """
    num_modes, radius = count(num_modes, "num_modes"), finite(radius, "radius")
    scale = positive(scale, "scale")
    angles = 2 * np.pi * np.arange(num_modes) / num_modes
    means = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    means = radius * means
    require_separated(means, scale)
    return isotropic_mixture(means, np.ones(num_modes), scale)


def grid(side: int = 5, spacing: float = 1.5, scale: float = 0.1) -> Density2D:
    """side x side equal Gaussians, `spacing` apart, centred on the origin.

    PacGAN's grid {-4, -2, 0, 2, 4}^2 is `spacing=2, scale=0.05`.
    """
    side = count(side, "side", math.isqrt(MAX_COMPONENTS))
    spacing, scale = finite(spacing, "spacing"), positive(scale, "scale")
    axis = spacing * (np.arange(side) - (side - 1) / 2)
    means = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    require_separated(means, scale)
    return isotropic_mixture(means, np.ones(side * side), scale)


def mixture(
    weights: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4),
    means: tuple[tuple[float, float], ...] = ((-1.5, -1.5), (-1.5, 1.5), (1.5, -1.5), (1.5, 1.5)),
    scale: float = 0.3,
) -> Density2D:
    """Round Gaussians with the given weights (normalised) and means; they may overlap."""
    return isotropic_mixture(means, weights, scale)


def spiral(
    turns: float = 2.0,
    radius: float = 2.0,
    scale: float = 0.1,
    arms: int = 1,
    num_components: int = 200,
) -> Density2D:
    """An Archimedean spiral r = radius * angle / (2 pi turns), blurred by N(0, scale^2 I).

    It is a mixture of `num_components` equal Gaussians in each arm, at equal steps of arc length,
    so the log-density is exact for what is sampled. Steps longer than `scale` would show as
    beads and are refused.
    """
    arms, num_components = count(arms, "arms"), count(num_components, "num_components")
    count(arms * num_components, "arms * num_components")
    turns, radius = positive(turns, "turns", MAX_TURNS), positive(radius, "radius")
    scale = positive(scale, "scale")
    fine = np.linspace(0, 2 * np.pi * turns, 20_001)
    curve = radius / fine[-1] * fine[:, None] * np.stack([np.cos(fine), np.sin(fine)], axis=-1)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=-1))])
    even = (np.arange(num_components) + 0.5) / num_components * length[-1]
    arm = np.stack([np.interp(even, length, curve[:, i]) for i in (0, 1)], axis=-1)
    _require_smooth(length[-1] / num_components, scale, num_components)
    turned = [arm @ _rotation(2 * np.pi * k / arms).T for k in range(arms)]
    return isotropic_mixture(
        np.concatenate(turned), np.ones(arms * num_components), scale, has_modes=False
    )


def two_spirals(
    turns: float = 1.5, radius: float = 2.0, scale: float = 0.1, num_components: int = 150
) -> Density2D:
    """Two spirals, each turned half a circle against the other."""
    return spiral(turns, radius, scale, 2, num_components)


def two_moons(scale: float = 0.1, num_components: int = 50) -> Density2D:
    """Two half circles of radius 1, the geometry of `sklearn.datasets.make_moons`, blurred by N(0,
    scale^2 I).

    The upper moon is (cos t, sin t), the lower (1 - cos t, 1/2 - sin t), t in (0, pi), each a
    mixture of `num_components` equal Gaussians at equal steps of t: the log-density is exact for
    that mixture.
    """
    num_components = count(num_components, "num_components", MAX_COMPONENTS // 2)
    scale = positive(scale, "scale")
    t = np.pi * (np.arange(num_components) + 0.5) / num_components
    upper = np.stack([np.cos(t), np.sin(t)], axis=-1)
    lower = np.stack([1 - np.cos(t), 0.5 - np.sin(t)], axis=-1)
    _require_smooth(np.pi / num_components, scale, num_components)
    means = np.concatenate([upper, lower])
    return isotropic_mixture(means, np.ones(len(means)), scale, has_modes=False)


def require_separated(means: np.ndarray, scale: float) -> None:
    """`ConfigError` unless any two centres are more than 6 scale apart: modes that can be told
    apart."""
    if len(means) < 2 or not (checks.is_known(scale) and checks.is_known(means)):
        return
    means = np.asarray(means, np.float64)
    # Row by row: all pairs of some thousand centres would take hundreds of megabytes.
    nearest = min(
        float(np.linalg.norm(means[k:] - means[k - 1], axis=-1).min()) for k in range(1, len(means))
    )
    require(
        nearest > 6 * scale,
        f"the nearest of {len(means)} centres are {nearest:.4g} apart; modes need more than 6 scale"
        f" = {6 * scale:.4g}",
    )


def _modes(u: Array, thresholds: Array) -> Array:
    """How many of the sorted thresholds are at most u."""
    if len(thresholds) <= COMPARED:
        return jnp.sum(u[:, None] >= thresholds, axis=-1)
    return jnp.searchsorted(thresholds, u, side="right")


def _numbers(values, name: str) -> np.ndarray:
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} must be numbers: {error}") from error
    require(bool(np.all(np.abs(numbers) <= LARGEST)), f"{name} must be finite, at most {LARGEST:g}")
    return numbers


def _require_smooth(step: float, scale: float, num_components: int) -> None:
    if not checks.is_known(scale):
        return
    require(
        step <= scale,
        f"{num_components} components are {step:.3g} apart, further than scale {scale:g}; "
        f"choose num_components >= {math.ceil(step * num_components / scale)}",
    )


def _rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
