"""The discrete VAE on the library's engine."""

import functools

import jax.numpy as jnp
import optax

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from benchmarks.families._shared.images import noise_images
from benchmarks.families.discrete_vae import GRID, NUM_IMAGES, TEMPERATURE
from dgm_jax import training
from dgm_jax.core import Model, Task
from dgm_jax.models import GumbelVae, discrete_vae
from dgm_jax.networks import ResidualDecoder, ResidualEncoder, from_flax, in_precision

IMAGE = (28, 28, 1)


def model(width: int, residual_width: int, codes: int, precision: str = "float32") -> Model:
    """At a constant temperature and with all of the KL."""
    encoder, decoder = (
        in_precision(from_flax(module), precision)
        for module in (
            ResidualEncoder(codes, width, residual_width),
            ResidualDecoder(2, width, residual_width),
        )
    )
    vae = GumbelVae(encoder, decoder, GRID, codes, "logit_laplace")
    return discrete_vae(vae, IMAGE, temperature=lambda step: TEMPERATURE, beta=lambda step: 1.0)


def task(
    width: int, residual_width: int, codes: int, batch: int, precision: str = "float32"
) -> Task:
    """The model on random batches, without evaluation."""
    made = model(width, residual_width, codes, precision)
    convert = lambda images: images.astype(jnp.float32) * (1 / 255)
    optimizers = dict.fromkeys(made.players, optax.adam(3e-4))
    algorithm = functools.partial(training.alternating, made.players, optimizers)
    draw = shared.random_batches(NUM_IMAGES, batch, convert)
    return Task(made.init, draw, algorithm, shared.no_evaluation)


def engine(
    shape: dict[str, int],
    seeds: int,
    steps: int,
    convolutions: str | None = None,
    precision: str = "float32",
) -> Case:
    """Steps on the library's engine."""
    made, images = task(**shape, precision=precision), {"image": noise_images(NUM_IMAGES)}
    return shared.engine(lambda hyper: made, images, seeds, steps, convolutions=convolutions)
