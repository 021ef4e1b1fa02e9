"""A ring of Gaussians in any dimension, and measures of a one-parameter model on it."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy

from dgm_jax import evaluation
from dgm_jax.core import Array, Key, require
from dgm_jax.densities import mixture
from dgm_jax.models.one_parameter import Noise, OneParameterFamily

NUM_MODES = 8
RADIUS = 2.0
SCALE = 0.1


class RingData(NamedTuple):
    """The data: a ring of eight Gaussians in two of `dim` dimensions, noise in all others.

    The noise has the scale of the Gaussians.

    Attributes:
        dim: number of dimensions.
        means: [8, dim].
        threshold: a sample is valid within this many scales of a mode; the radius that holds the
            same share of a Gaussian as three scales do in the plane, 1 - exp(-9/2), whatever the
            dimension.
    """

    dim: int
    means: Array
    threshold: float

    def log_prob(self, x: Array) -> Array:
        """Compute the log-density.

        Args:
            x: [n, dim].

        Returns:
            [n], nats.
        """
        return mixture.log_prob(x, jnp.full(NUM_MODES, -math.log(NUM_MODES)), self.means, SCALE)

    def sample(self, key: Key, n: int) -> Array:
        """Draw samples.

        Args:
            key: random key.
            n: number of samples.

        Returns:
            [n, dim].
        """
        return mixture.sample(
            key, n, jnp.full(NUM_MODES, -math.log(NUM_MODES)), self.means, SCALE
        ).x

    def valid(self, samples: Array) -> Array:
        """Compute the share of samples that lie near a mode.

        Args:
            samples: [n, dim].

        Returns:
            A scalar in [0, 1].
        """
        return evaluation.mode_coverage(
            samples, self.means, SCALE, threshold_sigmas=self.threshold
        ).valid


def truth(dim: int) -> RingData:
    """Make the data.

    Args:
        dim: number of dimensions, at least 2.

    Returns:
        The data.

    Raises:
        ConfigError: for fewer dimensions.
    """
    require(dim >= 2, f"the ring needs 2 dimensions at least, got {dim}")
    angles = 2 * np.pi * np.arange(NUM_MODES) / NUM_MODES
    means = np.zeros((NUM_MODES, dim), np.float32)
    means[:, :2] = RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    threshold = math.sqrt(2 * scipy.special.gammaincinv(dim / 2, evaluation.expected_valid(3.0, 2)))
    return RingData(dim, jnp.asarray(means), threshold)


def measure(
    family: OneParameterFamily,
    data: RingData,
    raw: Array,
    centers: Array,
    x: Array,
    noise: Noise,
) -> dict[str, Array]:
    """Measure a model: its likelihood at test points and its samples.

    worst_cost is the largest log p - log q over the test points; train_log_prob exists for models
    that remember their training points.

    Args:
        family: of the model.
        data: the true distribution.
        raw: the model's parameter, unconstrained.
        centers: the training points [n, dim].
        x: test points [m, dim] from the true distribution.
        noise: of the model's samples.

    Returns:
        Scalars by name, nats and shares.
    """
    log_p = data.log_prob(x)
    log_q = family.log_prob(raw, centers, x)
    cost = log_p - log_q
    metrics = {
        "test_log_prob": jnp.mean(log_q),
        "true_log_prob": jnp.mean(log_p),
        "cost": jnp.mean(cost),
        "cost_per_dim": jnp.mean(cost) / data.dim,
        "worst_cost": jnp.max(cost),
        "valid": data.valid(family.sample(raw, centers, noise)),
    }
    if family.remembers:
        metrics["train_log_prob"] = jnp.mean(family.log_prob(raw, centers, centers))
    return metrics
