"""Adversarial variational Bayes on the library's engine."""

import functools

import jax.numpy as jnp
import optax

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from benchmarks.families._shared.images import binary_images
from benchmarks.families.adversarial_variational_bayes import (
    B1,
    BLOCKS,
    LATENT,
    NOISE,
    NUM_IMAGES,
    RATES,
    widths,
)
from dgm_jax import priors, training
from dgm_jax.core import Task
from dgm_jax.models import AdversarialVae, adversarial_variational_bayes
from dgm_jax.networks import MLP, NoiseEncoder, ResidualCritic, from_flax, reshaped

IMAGE = (28, 28, 1)


def recipe(hidden: int, critic: int) -> AdversarialVae:
    """Networks and prior."""
    first, second, _ = widths(hidden, critic)
    return AdversarialVae(
        from_flax(NoiseEncoder(first[1:])),
        reshaped(from_flax(MLP(second[1:], "relu", "glorot")), IMAGE),
        from_flax(ResidualCritic(critic, BLOCKS)),
        priors.standard_normal(LATENT),
        LATENT,
        NOISE,
    )


def task(hidden: int, critic: int, batch: int) -> Task:
    """On random batches, without evaluation."""
    made = adversarial_variational_bayes(recipe(hidden, critic), IMAGE, num_critic_updates=1)
    optimizers = {name: optax.adam(rate, b1=B1) for name, rate in RATES.items()}
    draw = shared.random_batches(NUM_IMAGES, batch, lambda images: images.astype(jnp.float32))
    algorithm = functools.partial(training.alternating, made.players, optimizers)
    return Task(made.init, draw, algorithm, shared.no_evaluation)


def engine(shape: dict[str, int], seeds: int, steps: int) -> Case:
    """Steps on the library's engine."""
    made, images = task(**shape), {"image": binary_images(NUM_IMAGES)}
    return shared.engine(lambda hyper: made, images, seeds, steps)
