"""The VAE with categorical latents on the library's engine."""

import functools

import jax.numpy as jnp
import optax

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from benchmarks.families._shared.images import binary_images
from benchmarks.families.gumbel_vae import CLASSES, LATENTS, NUM_IMAGES, widths
from dgm_jax import training
from dgm_jax.core import Model, Task
from dgm_jax.models import GumbelVae, gumbel_vae
from dgm_jax.networks import MLP, from_flax, reshaped

IMAGE = (28, 28, 1)


def model(width: int) -> Model:
    """At temperature 1."""
    first, second = widths(width)
    encoder = reshaped(from_flax(MLP(first[1:], "relu", "glorot")), (LATENTS, CLASSES))
    decoder = reshaped(from_flax(MLP(second[1:], "relu", "glorot")), IMAGE)
    return gumbel_vae(GumbelVae(encoder, decoder, (LATENTS,), CLASSES), IMAGE)


def task(width: int, batch: int) -> Task:
    """On random batches, without evaluation."""
    made = model(width)
    draw = shared.random_batches(NUM_IMAGES, batch, lambda images: images.astype(jnp.float32))
    algorithm = functools.partial(training.alternating, made.players, {"vae": optax.adam(1e-3)})
    return Task(made.init, draw, algorithm, shared.no_evaluation)


def engine(shape: dict[str, int], seeds: int, steps: int) -> Case:
    """Steps on the library's engine."""
    made, images = task(**shape), {"image": binary_images(NUM_IMAGES)}
    return shared.engine(lambda hyper: made, images, seeds, steps)
