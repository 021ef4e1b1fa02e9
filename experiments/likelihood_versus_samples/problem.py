"""A ring of Gaussians in any dimension, and a model of one number measured on it."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.stats

from dgm_jax import evaluation
from dgm_jax.core import Array, Key, require
from dgm_jax.densities import mixture
from dgm_jax.models.one_parameter import Noise, OneParameterFamily

NUM_MODES, RADIUS, SCALE = 8, 2.0, 0.1


class RingData(NamedTuple):
    """The data: a ring of eight Gaussians in the first two of `dim` dimensions, noise of the same
    scale in all others.

    means: [8, dim]. threshold: a sample is valid within so many scales of a mode; the radius that
        holds as large a share of a Gaussian as three scales do in the plane, 1 - exp(-9/2),
        whatever the dimension.
    """

    dim: int
    means: Array
    threshold: float

    def log_prob(self, x: Array) -> Array:
        """[n, dim] -> [n], nats."""
        return mixture.log_prob(x, jnp.full(NUM_MODES, -math.log(NUM_MODES)), self.means, SCALE)

    def sample(self, key: Key, n: int) -> Array:
        """[n, dim]."""
        return mixture.sample(
            key, n, jnp.full(NUM_MODES, -math.log(NUM_MODES)), self.means, SCALE
        ).x

    def valid(self, samples: Array) -> Array:
        """The share of samples [n, dim] that lie near a mode."""
        return evaluation.mode_coverage(
            samples, self.means, SCALE, threshold_sigmas=self.threshold
        ).valid


def truth(dim: int) -> RingData:
    """The data in `dim` dimensions, 2 at least."""
    require(dim >= 2, f"the ring needs 2 dimensions at least, got {dim}")
    angles = 2 * np.pi * np.arange(NUM_MODES) / NUM_MODES
    means = np.zeros((NUM_MODES, dim), np.float32)
    means[:, :2] = RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    threshold = math.sqrt(scipy.stats.chi2.ppf(evaluation.expected_valid(3.0, 2), dim))
    return RingData(dim, jnp.asarray(means), threshold)


def measure(
    family: OneParameterFamily, data: RingData, raw: Array, centres: Array, x: Array, noise: Noise
) -> dict[str, Array]:
    """The model at `raw`: its likelihood at test points x ~ p [m, dim] and its samples; scalars,
    nats and shares.

    worst_cost is the largest log p - log q over the test points; train_log_prob is there for models
    that remember.
    """
    log_p, log_q = data.log_prob(x), family.log_prob(raw, centres, x)
    cost = log_p - log_q
    found = {
        "test_log_prob": jnp.mean(log_q),
        "true_log_prob": jnp.mean(log_p),
        "cost": jnp.mean(cost),
        "cost_per_dim": jnp.mean(cost) / data.dim,
        "worst_cost": jnp.max(cost),
        "valid": data.valid(family.sample(raw, centres, noise)),
    }
    if family.remembers:
        found["train_log_prob"] = jnp.mean(family.log_prob(raw, centres, centres))
    return found
