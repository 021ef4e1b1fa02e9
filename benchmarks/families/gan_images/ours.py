"""The DCGAN on the library's engine."""

import functools

import jax
import jax.numpy as jnp
import optax

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from benchmarks.families._shared.images import noise_images
from benchmarks.families.gan_images import LATENT, NUM_IMAGES
from dgm_jax import core, training
from dgm_jax.core import Model, Task
from dgm_jax.models import gan
from dgm_jax.networks import Discriminator, Generator, from_flax, in_precision
from dgm_jax.objectives.gan import LOSSES

IMAGE, PLAYERS = (28, 28, 1), ("discriminator", "generator")


def model(features: int, precision: str = "float32") -> Model:
    """The game."""
    modules = Generator(IMAGE, features), Discriminator(features)
    networks = (in_precision(from_flax(module), precision) for module in modules)
    loss = LOSSES["non_saturating"]
    return gan(*networks, loss, latent_size=LATENT, example_shape=IMAGE)


def to_model_range(images):
    """uint8 to [-1, 1]."""
    return images.astype(jnp.float32) * (2 / 255) - 1


def task(features: int, batch: int, precision: str = "float32") -> Task:
    """The GAN on random batches of the images in `arrays`, without evaluation."""
    made = model(features, precision)

    def draw(arrays, data_key, index):
        key_x, key_z = jax.random.split(jax.random.fold_in(data_key, index))
        which = jax.random.randint(key_x, (batch,), 0, NUM_IMAGES)
        z = core.normal(key_z, (batch, LATENT))
        return {"x": to_model_range(arrays["image"][which]), "z": z}

    optimizers = {name: optax.adam(2e-4, 0.5, 0.999) for name in PLAYERS}
    algorithm = functools.partial(training.alternating, made.players, optimizers)
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
