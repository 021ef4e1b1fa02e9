"""Two one-parameter models of a known mixture: one is mostly junk, the other remembers its training
points.

Theis, van den Oord and Bethge 2016, "A note on the evaluation of generative models": likelihood and
the look of samples are largely independent. Both models are functions of one number `raw`, so that
the engine can fit it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from dgm_jax import evaluation
from dgm_jax.core import Array, Key, normal, require, uniform
from dgm_jax.densities import gaussian, mixture

NUM_MODES, RADIUS, SCALE = 8, 2.0, 0.1
# so wide that junk hits a mode by chance in fewer than 1 of 10,000 draws in the plane
JUNK_SCALE = 100.0
CHUNK = 100  # kernels that are summed at once: [points, CHUNK, dim] numbers in memory


class Truth(NamedTuple):
    """The data: a ring of eight Gaussians in the first two of `dim` dimensions, noise of the same
    scale in all others.

    means: [8, dim]. threshold: a sample is valid within so many scales of a mode; the radius that
        holds as large a
    share of a Gaussian as three scales do in the plane, 1 - exp(-9/2), whatever the dimension.
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


def truth(dim: int) -> Truth:
    """The data in `dim` dimensions, 2 at least."""
    require(dim >= 2, f"the ring needs 2 dimensions at least, got {dim}")
    angles = 2 * np.pi * np.arange(NUM_MODES) / NUM_MODES
    means = np.zeros((NUM_MODES, dim), np.float32)
    means[:, :2] = RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    threshold = math.sqrt(scipy.stats.chi2.ppf(evaluation.expected_valid(3.0, 2), dim))
    return Truth(dim, jnp.asarray(means), threshold)


class Noise(NamedTuple):
    """What samples are made of; the same for all models, so that they differ by their parameter
    alone."""

    exact: Array  # [m, D], samples of the data
    choice: Array  # [m], uniform in [0, 1)
    normal: Array  # [m, D], standard normal


def noise(key: Key, data: Truth, num_samples: int) -> Noise:
    """Noise for `num_samples` samples."""
    key_exact, key_choice, key_normal = jax.random.split(key, 3)
    return Noise(
        data.sample(key_exact, num_samples),
        uniform(key_choice, (num_samples,)),
        normal(key_normal, (num_samples, data.dim)),
    )


def pick(choice: Array, num: int) -> Array:
    """int32 in 0..num-1 from uniform numbers in [0, 1)."""
    return jnp.minimum(jnp.int32(choice * num), num - 1)


class Family(NamedTuple):
    """Models indexed by one unbounded number, `raw`.

    parameter: its name in natural units. natural, raw_of: to these units and back. start: where a
        fit begins.
    ladder: values, in natural units, at which the model is measured beside the fitted one.
    log_prob: `(raw, kernels[n, D], x[m, D]) -> [m]`, nats. sample:
        `(raw, kernels, Noise of m) -> [m, D]`.
    """

    parameter: str
    natural: Callable
    raw_of: Callable
    start: float
    ladder: tuple[float, ...]
    log_prob: Callable
    sample: Callable
    remembers: bool  # whether the kernels, its training points, matter


def junk(data: Truth) -> Family:
    """q = w p + (1 - w) r with r = N(0, 100^2 I): exact with probability w, and junk otherwise.

    log q >= log p + log w everywhere: 99 % of junk costs log 100 = 4.605 nats at most, in any
    dimension.
    """

    def log_prob(raw, kernels, x):
        del kernels
        log_junk = jnp.sum(gaussian.log_prob(x, 0.0, JUNK_SCALE), axis=-1)
        return jnp.logaddexp(
            jax.nn.log_sigmoid(raw) + data.log_prob(x), jax.nn.log_sigmoid(-raw) + log_junk
        )

    def sample(raw, kernels, noise):
        del kernels
        return jnp.where(
            noise.choice[:, None] < jax.nn.sigmoid(raw), noise.exact, JUNK_SCALE * noise.normal
        )

    ladder = (0.001, 0.01, 0.1, 0.5, 0.99)
    return Family(
        "weight",
        jax.nn.sigmoid,
        lambda w: math.log(w / (1 - w)),
        0.01,
        ladder,
        log_prob,
        sample,
        False,
    )


def kernels(data: Truth) -> Family:
    """q = mean over the training points c_i of N(c_i, width^2 I): a kernel density (Parzen)
    estimate.

    As the width falls, samples become the training points, which are perfect; the log-likelihood of
    other points goes to minus infinity, and that of the training points to infinity: -log n - dim
    (log width + log(2 pi) / 2) at last.
    """

    def log_prob(raw, centres, x):
        n, padding = len(centres), -len(centres) % CHUNK
        log_weights = jnp.where(jnp.arange(n + padding) < n, -math.log(n), -jnp.inf)
        chunks = (
            log_weights.reshape(-1, CHUNK),
            jnp.pad(centres, ((0, padding), (0, 0))).reshape(-1, CHUNK, data.dim),
        )

        def add(total, chunk):
            some_weights, some_centres = chunk
            here = mixture.log_prob(x, some_weights, some_centres, jnp.exp(raw))
            return jnp.logaddexp(total, here), None

        return jax.lax.scan(add, jnp.full(x.shape[:1], -jnp.inf), chunks)[0]

    def sample(raw, centres, noise):
        return centres[pick(noise.choice, len(centres))] + jnp.exp(raw) * noise.normal

    ladder = tuple(float(w) for w in np.geomspace(1e-4, 1.0, 13).round(9))
    return Family("width", jnp.exp, math.log, 0.3, ladder, log_prob, sample, True)


FAMILIES = {"junk": junk, "kernels": kernels, "memorised": kernels}


def measure(
    family: Family, data: Truth, raw: Array, centres: Array, x: Array, noise: Noise
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
