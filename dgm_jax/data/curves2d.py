"""Curves in the plane with an exact density, as mixtures of many equal Gaussians along them."""

import math

import numpy as np

from dgm_jax.core import checks, require
from dgm_jax.data.dataset import Density2D
from dgm_jax.data.limits2d import MAX_COMPONENTS, MAX_TURNS, count, positive
from dgm_jax.data.mixtures2d import isotropic_mixture


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
    separate beads and are refused.

    Args:
        turns: full turns of an arm.
        radius: distance of an arm's end from the origin.
        scale: standard deviation of the blur.
        arms: number of arms, evenly rotated.
        num_components: Gaussians in each arm.

    Returns:
        The density, without modes.

    Raises:
        ConfigError: for numbers out of range, or too few components.
    """
    arms = count(arms, "arms")
    num_components = count(num_components, "num_components")
    count(arms * num_components, "arms * num_components")
    turns = positive(turns, "turns", MAX_TURNS)
    radius = positive(radius, "radius")
    scale = positive(scale, "scale")
    angles = np.linspace(0, 2 * np.pi * turns, 20_001)
    cos = np.cos(angles)
    sin = np.sin(angles)
    directions = np.stack([cos, sin], axis=-1)
    radii = radius / angles[-1] * angles
    curve = radii[:, None] * directions
    steps = np.diff(curve, axis=0)
    step_lengths = np.linalg.norm(steps, axis=-1)
    lengths = np.concatenate([[0], np.cumsum(step_lengths)])
    whole = lengths[-1]
    shares = (np.arange(num_components) + 0.5) / num_components
    even = shares * whole
    x = np.interp(even, lengths, curve[:, 0])
    y = np.interp(even, lengths, curve[:, 1])
    arm = np.stack([x, y], axis=-1)
    _require_smooth(whole / num_components, scale, num_components)
    rotated = []
    for k in range(arms):
        rotation = _rotation(2 * np.pi * k / arms)
        rotated.append(arm @ rotation.T)
    means = np.concatenate(rotated)
    weights = np.ones(arms * num_components)
    return isotropic_mixture(means, weights, scale, has_modes=False)


def two_spirals(
    turns: float = 1.5,
    radius: float = 2.0,
    scale: float = 0.1,
    num_components: int = 150,
) -> Density2D:
    """Two spirals, rotated by half a turn against each other; see `spiral`.

    Args:
        turns: full turns of an arm.
        radius: distance of an arm's end from the origin.
        scale: standard deviation of the blur.
        num_components: Gaussians in each arm.

    Returns:
        The density, without modes.

    Raises:
        ConfigError: for numbers out of range, or too few components.
    """
    return spiral(turns, radius, scale, 2, num_components)


def two_moons(scale: float = 0.1, num_components: int = 50) -> Density2D:
    """Two half circles of radius 1, the geometry of `sklearn.datasets.make_moons`, with blur.

    The upper moon is (cos t, sin t), the lower (1 - cos t, 1/2 - sin t), t in (0, pi), each a
    mixture of `num_components` equal Gaussians at equal steps of t: the log-density is exact for
    that mixture.

    Args:
        scale: standard deviation of the blur N(0, scale^2 I).
        num_components: Gaussians in each moon.

    Returns:
        The density, without modes.

    Raises:
        ConfigError: for numbers out of range, or too few components.
    """
    num_components = count(num_components, "num_components", MAX_COMPONENTS // 2)
    scale = positive(scale, "scale")
    t = np.pi * (np.arange(num_components) + 0.5) / num_components
    cos = np.cos(t)
    sin = np.sin(t)
    upper = np.stack([cos, sin], axis=-1)
    lower = np.stack([1 - cos, 0.5 - sin], axis=-1)
    _require_smooth(np.pi / num_components, scale, num_components)
    means = np.concatenate([upper, lower])
    weights = np.ones(2 * num_components)
    return isotropic_mixture(means, weights, scale, has_modes=False)


def _require_smooth(step: float, scale: float, num_components: int) -> None:
    """Refuse components so far apart that a curve of them would look like beads."""
    if not checks.is_known(scale):
        return
    enough = math.ceil(step * num_components / scale)
    require(
        step <= scale,
        f"{num_components} components are {step:.3g} apart, further than scale {scale:g}; "
        f"choose num_components >= {enough}",
    )


def _rotation(angle: float) -> np.ndarray:
    """The matrix [2, 2] of a rotation by an angle in radians."""
    cos = np.cos(angle)
    sin = np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])
