"""A GAN on points of one's own: a template for an experiment in one file.

    dgm-jax check ./own_experiment.py
    dgm-jax run ./own_experiment.py --num_seeds 8
    dgm-jax ablate ./own_experiment.py --grid learning_rate=log:1e-4..1e-2:5

Copy it, and change what it loads, its networks and what it measures. The first paragraph here is
what `dgm-jax list` says of an experiment once a package of yours has an entry point for it.
"""

import dataclasses
import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import core, evaluation, models, networks, plotting, training
from dgm_jax.objectives import gan
from dgm_jax.run import Experiment, Inputs, OptimizerConfig, main, optimizer_of
from dgm_jax.run.settings import OPTIMIZER_READ_WHERE, OPTIMIZER_SWEEPABLE

LATENT_SIZE = 4


@dataclasses.dataclass(frozen=True)
class Config(OptimizerConfig):
    """A GAN on points: how near do its samples come?"""

    num_steps: int = 3_000
    file: str = ""
    """An npy file of float32 [N, D]; by default two moons of 2,000 points."""
    width: int = 64
    """Width of both hidden layers of both networks."""
    learning_rate: float = 1e-3
    """Learning rate of both players."""


def load(settings: Config, needed) -> Inputs:
    """The points, and their identity: a run that goes on must see the same."""
    x = np.load(settings.file) if settings.file else _two_moons(2_000)
    core.require(x.ndim == 2, f"{settings.file} must hold [N, D], got {x.shape}")
    x = jnp.asarray(x, jnp.float32)
    name = settings.file or "two moons"
    identity = {"name": name, "sha256": core.tree_sha256(x), "dim": x.shape[1]}
    return Inputs({"x": x}, identity)


def _two_moons(num: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    angle, is_lower = generator.uniform(0, np.pi, num), generator.integers(0, 2, num)
    x = np.where(is_lower, 1 - np.cos(angle), np.cos(angle))
    y = np.where(is_lower, 0.5 - np.sin(angle), np.sin(angle))
    return np.stack([x, y], axis=1) + 0.05 * generator.normal(size=(num, 2))


def validate(config: Config) -> None:
    """What no run could use is refused before anything is loaded."""
    core.require_at_least(1, config, "width")
    core.require_positive(config, "learning_rate")


def model(config: Config, hyper, dataset) -> core.Model:
    """The game; `dgm-jax sample` and `dgm_jax.run.load` use it too, from the data's identity."""
    widths = (config.width, config.width)
    generator = networks.from_flax(networks.MLP((*widths, dataset["dim"])))
    discriminator = networks.from_flax(networks.MLP((*widths, 1), squeeze=True))
    return models.gan(
        generator,
        discriminator,
        gan.LOSSES["non_saturating"],
        latent_size=LATENT_SIZE,
        example_shape=(dataset["dim"],),
    )


def build(config: Config, hyper, inputs: Inputs) -> core.Task:
    """One seed's run. What a grid sweeps in one program is read from `hyper`."""
    game = model(config, hyper, inputs.identity)

    def draw(arrays, data_key, index):
        key_rows, key_z = jax.random.split(jax.random.fold_in(data_key, index))
        rows = jax.random.randint(key_rows, (128,), 0, len(arrays["x"]))
        return {"x": arrays["x"][rows], "z": core.normal(key_z, (128, LATENT_SIZE))}

    def evaluate(train_state, arrays, key):
        key_samples, key_directions = jax.random.split(key)
        real = arrays["x"][:1_000]
        samples = game.sample(train_state.params, train_state.state, key_samples, len(real))
        distance = evaluation.sliced_wasserstein(key_directions, real=real, fake=samples)
        return {"sliced_wasserstein": distance, "samples": samples}

    # Adam with b1 = 0.5, unless --optimizer, --weight_decay, ... say otherwise. Any optimizer of
    # optax would do, but without those flags.
    optimizer = optimizer_of(config, hyper, hyper["learning_rate"], b1=0.5)
    rule = functools.partial(training.alternating, game.players, optimizer)
    return core.Task(game.init, draw, rule, evaluate)


def plots(results, inputs: Inputs) -> dict:
    """Samples of each arm, a panel for each seed."""
    return {
        f"samples_{result.name}": (
            plotting.scatter_samples(result.arrays["samples"][..., :2], title=result.name),
            f"{result.name}: samples after training, a panel a seed.",
        )
        for result in results
    }


EXPERIMENT = Experiment(
    name="own_experiment",
    config=Config,
    sweepable=("learning_rate", *OPTIMIZER_SWEEPABLE),
    read_where=OPTIMIZER_READ_WHERE,
    data_settings=("file",),
    headline=("sliced_wasserstein",),
    explanations={"sliced_wasserstein": "Sliced 2-Wasserstein distance to the points; 0 is best."},
    load=load,
    build=build,
    model=model,
    validate=validate,
    plots=plots,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
