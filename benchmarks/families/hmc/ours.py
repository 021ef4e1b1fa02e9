"""The library's transitions."""

import functools

import jax
import jax.numpy as jnp

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from benchmarks.families.annealing import LEAPFROG, STEP_SIZE, WIDTHS
from benchmarks.families.annealing import ours as annealed
from dgm_jax import core
from dgm_jax.densities import gaussian
from dgm_jax.likelihood import hmc


def start(images: int, chains: int):
    """(x, z): where the chains of every side begin."""
    z = core.normal(jax.random.key(1), (chains, images, WIDTHS[0]))
    return jnp.asarray(annealed.pixels(images)), z


def evaluate(params, x):
    """`z -> hmc.Point`, the prior as base and the likelihood as ratio."""
    log_prior = lambda z: jnp.sum(gaussian.log_prob(z, 0.0, 1.0), axis=-1)
    return lambda z: hmc.point(log_prior, lambda z: annealed.log_likelihood(params, x, z), z)


def move(key, at: hmc.Point, params, x):
    """One transition: (point, acceptance [C, B])."""
    sizes = jnp.full(x.shape[0], STEP_SIZE)
    return hmc.transition(key, at, evaluate(params, x), 1.0, sizes, LEAPFROG)


def moved(params, key, x, z, steps: int):
    """(z after so many transitions, mean acceptance of each)."""

    def step(at, key):
        at, probability = move(key, at, params, x)
        return at, jnp.mean(probability)

    end, accepted = jax.lax.scan(step, evaluate(params, x)(z), jax.random.split(key, steps))
    return end.z, accepted


def transitions(images: int, chains: int, steps: int, as_operands: bool = False) -> Case:
    """Of all chains of all images, in one compiled program."""
    params, (x, z) = annealed.decoder_params(), start(images, chains)
    run = lambda params, key, x, z: moved(params, key, x, z, steps)
    operands = params, jax.random.key(0), x, z
    if not as_operands:
        run, operands = functools.partial(run, params), operands[1:]
    return shared.compiled(run, *operands, count=images * chains * steps)
