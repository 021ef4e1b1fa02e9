"""The dense VAE on the library's engine."""

import functools

import jax.numpy as jnp
import optax

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from benchmarks.families._shared.images import binary_images
from benchmarks.families.vae import NUM_IMAGES, widths
from dgm_jax import priors, training
from dgm_jax.core import Task
from dgm_jax.models import Vae, vae
from dgm_jax.networks import MLP, from_flax, reshaped

IMAGE = (28, 28, 1)


def recipe(width: int, latent: int) -> Vae:
    """Networks and prior."""
    first, second = widths(width, latent)
    encoder = reshaped(from_flax(MLP(first[1:], "relu", "glorot")), (2 * latent,))
    decoder = reshaped(from_flax(MLP(second[1:], "relu", "glorot")), IMAGE)
    prior = priors.standard_normal(latent)
    return Vae(encoder, decoder, latent, lambda encode: prior)


def task(width: int, latent: int, batch: int) -> Task:
    """The VAE on random batches, without evaluation."""
    made = vae(recipe(width, latent), IMAGE)
    draw = shared.random_batches(NUM_IMAGES, batch, lambda images: images.astype(jnp.float32))
    algorithm = functools.partial(training.alternating, made.players, {"vae": optax.adam(1e-3)})
    return Task(made.init, draw, algorithm, shared.no_evaluation)


def engine(shape: dict[str, int], seeds: int, steps: int) -> Case:
    """Steps on the library's engine."""
    made, images = task(**shape), {"image": binary_images(NUM_IMAGES)}
    return shared.engine(lambda hyper: made, images, seeds, steps)
