"""The library's chains."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from benchmarks.families.annealing import LEAPFROG, STEP_SIZE, WIDTHS
from dgm_jax import core
from dgm_jax.core import Network
from dgm_jax.densities import bernoulli, gaussian
from dgm_jax.likelihood import annealing
from dgm_jax.networks import MLP, from_flax


def pixels(images: int) -> np.ndarray:
    """Binary, float32 [images, 784]."""
    return np.random.default_rng(0).integers(0, 2, (images, WIDTHS[-1])).astype(np.float32)


def network() -> Network:
    """The decoder."""
    return from_flax(MLP(WIDTHS[1:], "relu", "glorot"))


def decoder_params():
    """Its weights."""
    return network().init(jax.random.key(0), jnp.zeros((2, WIDTHS[0])))[0]


def log_likelihood(params, x, z):
    """log p(x | z): x [b, 784], z [n, b, 40] -> [n, b]."""
    logits = network().apply(params, {}, z.reshape(-1, WIDTHS[0]), train=False)[0]
    return jnp.sum(bernoulli.log_prob(x, logits.reshape(*z.shape[:2], -1)), axis=-1)


def path(params) -> annealing.Path:
    """From N(0, I) to the posterior."""
    return annealing.from_prior(
        lambda key, n: core.normal(key, (n, WIDTHS[0])),
        lambda z: jnp.sum(gaussian.log_prob(z, 0.0, 1.0), axis=-1),
        lambda x, z: log_likelihood(params, x, z),
    )


def settings(chains: int, ladder: int) -> annealing.Settings:
    """With ten leapfrog steps."""
    return annealing.Settings(num_steps=ladder, num_chains=chains, num_leapfrog=LEAPFROG)


def log_weights(params, key, x, chosen: annealing.Settings):
    """At the given step size: [n, b]."""
    sizes = jnp.full((chosen.num_knots, x.shape[0]), STEP_SIZE)
    return annealing.forward(key, path(params), x, sizes, chosen).log_weights


def chains(images: int, chains: int, ladder: int) -> Case:
    """All chains of all images, in one compiled program."""
    params, chosen = decoder_params(), settings(chains, ladder)
    run = lambda key, x: log_weights(params, key, x, chosen)
    count = images * chains * (ladder - 1)
    return shared.compiled(run, jax.random.key(0), jnp.asarray(pixels(images)), count=count)
