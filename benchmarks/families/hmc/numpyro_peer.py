"""The transitions by numpyro's kernel."""

import functools

import jax
import jax.numpy as jnp
import numpyro
from numpyro import distributions
from numpyro.infer import HMC

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from benchmarks.families.annealing import LEAPFROG, STEP_SIZE, WIDTHS
from benchmarks.families.annealing import ours as annealed
from benchmarks.families.hmc import ours


def kernel(params) -> HMC:
    """On p(z | x) of one image, without adaptation."""
    network = annealed.network()

    def model(x):
        prior = distributions.Normal(jnp.zeros(WIDTHS[0]), 1.0).to_event(1)
        logits = network.apply(params, {}, numpyro.sample("z", prior)[None], train=False)[0][0]
        numpyro.sample("x", distributions.Bernoulli(logits=logits).to_event(1), obs=x)

    return HMC(
        model,
        step_size=STEP_SIZE,
        num_steps=LEAPFROG,
        trajectory_length=None,
        adapt_step_size=False,
        adapt_mass_matrix=False,
    )


def over_chains(function):
    """A function of (what belongs to a chain of an image, x of an image), for all of them."""
    return jax.vmap(jax.vmap(function), (0, None))


def start(made: HMC, x, z):
    """The states of all chains, [C, B, ...]."""
    keys = jax.random.split(jax.random.key(0), z.shape[:2])
    init = lambda own, x: made.init(own[0], 0, {"z": own[1]}, (x,), {})
    return over_chains(init)((keys, z), x)


def move(made: HMC, states, x):
    """One transition of all chains."""
    return over_chains(lambda state, x: made.sample(state, (x,), {}))(states, x)


def transitions(images: int, chains: int, steps: int, as_operands: bool = False) -> Case:
    """Of all chains of all images, in one compiled program."""
    params, (x, z) = annealed.decoder_params(), ours.start(images, chains)

    def run(params, states, x):
        made = kernel(params)
        start(made, x, z)  # what a kernel knows of its model

        def step(states, _):
            states = move(made, states, x)
            return states, jnp.mean(states.accept_prob)

        states, accepted = jax.lax.scan(step, states, length=steps)
        return states.z["z"], accepted

    operands = params, start(kernel(params), x, z), x
    if not as_operands:
        run, operands = functools.partial(run, params), operands[1:]
    return shared.compiled(run, *operands, count=images * chains * steps)
