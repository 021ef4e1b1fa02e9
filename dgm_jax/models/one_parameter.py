"""Two one-parameter models of a known density: one is mostly junk, the other remembers its training
points.

Theis, van den Oord and Bethge 2016, "A note on the evaluation of generative models": likelihood and
the look of samples are largely independent. Both models are functions of one number `raw`, so that
the engine can fit it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, normal, uniform
from dgm_jax.densities import gaussian, kernel_density

# so wide that junk hits a mode by chance in fewer than 1 of 10,000 draws in the plane
JUNK_SCALE = 100.0


class KnownDensity(Protocol):
    """What is modelled: a density p over R^dim with an exact sampler."""

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        ...

    def log_prob(self, x: Array) -> Array:
        """[n, dim] -> [n], nats."""
        ...

    def sample(self, key: Key, n: int) -> Array:
        """[n, dim]."""
        ...


class Noise(NamedTuple):
    """What samples are made of; the same for all models, so that they differ by their parameter
    alone."""

    exact: Array  # [m, D], samples of the data
    choice: Array  # [m], uniform in [0, 1)
    normal: Array  # [m, D], standard normal


def noise(key: Key, data: KnownDensity, num_samples: int) -> Noise:
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


class OneParameterFamily(NamedTuple):
    """Models indexed by one unbounded number, `raw`.

    parameter: its name in natural units. natural, raw_of: to these units and back.
    log_prob: `(raw, kernels [n, D], x [m, D]) -> [m]`, nats. sample:
        `(raw, kernels, Noise of m) -> [m, D]`.
    """

    parameter: str
    natural: Callable
    raw_of: Callable
    log_prob: Callable
    sample: Callable
    remembers: bool  # whether the kernels, its training points, matter


def junk(data: KnownDensity) -> OneParameterFamily:
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

    def logit(w):
        return math.log(w / (1 - w))

    return OneParameterFamily("weight", jax.nn.sigmoid, logit, log_prob, sample, False)


def kernels(data: KnownDensity) -> OneParameterFamily:
    """q = mean over the training points c_i of N(c_i, width^2 I): a kernel density (Parzen)
    estimate.

    As the width falls, samples become the training points, which are perfect; the log-likelihood of
    other points goes to minus infinity, and that of the training points to infinity
    (`densities.kernel_density`).
    """
    del data

    def log_prob(raw, centres, x):
        return kernel_density.log_prob(x, centres, jnp.exp(raw))

    def sample(raw, centres, noise):
        return centres[pick(noise.choice, len(centres))] + jnp.exp(raw) * noise.normal

    return OneParameterFamily("width", jnp.exp, math.log, log_prob, sample, True)
