"""Two one-parameter models of a known density: a mixture with junk, and one that memorizes its
training points.

They show that likelihood and the visual quality of samples are largely independent (Theis, van den
Oord and Bethge 2016, "A note on the evaluation of generative models"). Both models are functions of
one unbounded number `raw`, so that the engine can fit it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, normal, uniform
from dgm_jax.densities import gaussian, kernel_density

# So wide that fewer than 1 of 10,000 junk draws in the plane hits a mode by chance.
JUNK_SCALE = 100.0


class KnownDensity(Protocol):
    """The density p over R^dim to be modelled, with an exact sampler."""

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        ...

    def log_prob(self, x: Array) -> Array:
        """Evaluate log p of x [n, dim]: [n] in nats."""
        ...

    def sample(self, key: Key, n: int) -> Array:
        """Draw n points [n, dim]."""
        ...


class Noise(NamedTuple):
    """The noise of m samples, the same for all models, so that only their parameter differs.

    Attributes:
        exact: [m, D], samples of the data.
        choice: [m], uniform in [0, 1).
        normal: [m, D], standard normal.
    """

    exact: Array
    choice: Array
    normal: Array


def noise(key: Key, data: KnownDensity, num_samples: int) -> Noise:
    """Draw the noise of samples.

    Args:
        key: of the draws.
        data: the density to be modelled.
        num_samples: m.

    Returns:
        The noise.
    """
    key_exact, key_choice, key_normal = jax.random.split(key, 3)
    return Noise(
        exact=data.sample(key_exact, num_samples),
        choice=uniform(key_choice, (num_samples,)),
        normal=normal(key_normal, (num_samples, data.dim)),
    )


def pick(choice: Array, num: int) -> Array:
    """Turn uniform numbers into indices.

    Args:
        choice: [*B], uniform in [0, 1).
        num: number of indices.

    Returns:
        int32[*B] in 0..num-1.
    """
    return jnp.minimum(jnp.int32(choice * num), num - 1)


class OneParameterFamily(NamedTuple):
    """Models indexed by one unbounded number, `raw`.

    Attributes:
        parameter: its name in natural units.
        natural: from raw to natural units.
        raw_of: from natural units to raw.
        log_prob: `(raw, kernels [n, D], x [m, D]) -> [m]`, nats.
        sample: `(raw, kernels [n, D], noise of m) -> [m, D]`.
        remembers: whether the model depends on the kernels, its training points.
    """

    parameter: str
    natural: Callable[[Array], Array]
    raw_of: Callable[[float], float]
    log_prob: Callable[[Array, Array, Array], Array]
    sample: Callable[[Array, Array, Noise], Array]
    remembers: bool


def junk(data: KnownDensity) -> OneParameterFamily:
    """Mix the data's density with junk: q = w p + (1 - w) r with r = N(0, 100^2 I).

    log q >= log p + log w everywhere, so 99 % of junk costs at most log 100 = 4.605 nats, in any
    dimension.

    Args:
        data: p.

    Returns:
        The family, whose parameter is the weight w.
    """

    def log_prob(raw: Array, kernels: Array, x: Array) -> Array:
        del kernels
        log_junk = jnp.sum(gaussian.log_prob(x, 0.0, JUNK_SCALE), axis=-1)
        exact = jax.nn.log_sigmoid(raw) + data.log_prob(x)
        return jnp.logaddexp(exact, jax.nn.log_sigmoid(-raw) + log_junk)

    def sample(raw: Array, kernels: Array, noise: Noise) -> Array:
        del kernels
        is_exact = noise.choice[:, None] < jax.nn.sigmoid(raw)
        return jnp.where(is_exact, noise.exact, JUNK_SCALE * noise.normal)

    def logit(weight: float) -> float:
        return math.log(weight / (1 - weight))

    return OneParameterFamily("weight", jax.nn.sigmoid, logit, log_prob, sample, False)


def kernels(data: KnownDensity) -> OneParameterFamily:
    """Place a Gaussian kernel on each training point: a kernel density (Parzen) estimate.

    q = mean over the training points c_i of N(c_i, width^2 I).

    As the width tends to 0, samples become the training points, which look perfect, and the
    log-likelihood of other points tends to minus infinity, that of the training points to infinity
    (`densities.kernel_density`).

    Args:
        data: the density to be modelled; not used.

    Returns:
        The family, whose parameter is the width in units of x.
    """
    del data

    def log_prob(raw: Array, centers: Array, x: Array) -> Array:
        return kernel_density.log_prob(x, centers, jnp.exp(raw))

    def sample(raw: Array, centers: Array, noise: Noise) -> Array:
        return centers[pick(noise.choice, len(centers))] + jnp.exp(raw) * noise.normal

    return OneParameterFamily("width", jnp.exp, math.log, log_prob, sample, True)
