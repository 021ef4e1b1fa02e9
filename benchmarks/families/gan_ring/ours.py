"""The ring GAN on the library's engine."""

import functools

import jax
import optax

from benchmarks.contract import Case
from benchmarks.families import gan_ring
from benchmarks.families._shared import engine as shared
from dgm_jax import core, data, training
from dgm_jax.core import Model, Task
from dgm_jax.models import METHODS, PROTOCOLS, ToyProtocol, toy_gan
from dgm_jax.networks import MLP, from_flax

PLAYERS = ("discriminator", "generator")


def protocol(width: int, batch: int) -> ToyProtocol:
    """Protocol `sandlund` in a width."""
    both = gan_ring.widths(width)
    network = lambda name, **options: from_flax(
        MLP(both[name][1:], init_name="normal_0.02", **options)
    )
    return PROTOCOLS["sandlund"]._replace(
        generator=lambda: network("generator"),
        discriminator=lambda: network("discriminator", squeeze=True),
        batch_size=batch,
    )


def model(shape: dict[str, int]) -> Model:
    """The game."""
    return toy_gan(protocol(**shape), METHODS["vanilla"])


def optimizers(shape: dict[str, int]) -> dict[str, optax.GradientTransformation]:
    """Adam of the protocol for each player."""
    now = protocol(**shape)
    return {name: optax.adam(now.learning_rate, now.b1, now.b2) for name in PLAYERS}


def task(shape: dict[str, int]) -> Task:
    """The GAN on fresh samples, as a study would build it, without its evaluation."""
    made, now = model(shape), protocol(**shape)
    ring = data.load("ring", num_modes=8, radius=2.0, scale=0.1)
    draw_data = data.draws(ring, now.batch_size)

    def draw(arrays, data_key, index):
        key_x, key_z = jax.random.split(data_key)
        z = core.normal(jax.random.fold_in(key_z, index), (now.batch_size, now.latent_size))
        return {"x": draw_data(arrays, key_x, index)["x"], "z": z}

    algorithm = functools.partial(training.alternating, made.players, optimizers(shape))
    return Task(made.init, draw, algorithm, shared.no_evaluation)


def engine(shape: dict[str, int], seeds: int, steps: int) -> Case:
    """Steps on the library's engine."""
    made = task(shape)
    return shared.engine(lambda hyper: made, {}, seeds, steps)
