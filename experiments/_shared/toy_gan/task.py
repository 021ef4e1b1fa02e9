"""GANs on a known mixture in the plane: the task behind `gan_ring` and `gan_grid`."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dgm_jax import core, data, evaluation, plotting, training
from dgm_jax.core import Algorithm, Model, Replica, Task, lookup
from dgm_jax.experiments._shared.toy_gan import ToyGanConfig
from dgm_jax.models import METHODS, PROTOCOLS, Method, toy_gan
from dgm_jax.objectives.gan import LOSSES
from dgm_jax.run import ArmResult, Inputs, optimizer_of

SHOWN = 2500  # samples of each seed in the plot
AVERAGED = ("generator",)  # parts, by the method `averaged`


def validate(config: ToyGanConfig) -> None:
    """Check names and sizes, before anything is loaded.

    Args:
        config: the settings.

    Raises:
        ConfigError: for settings that no run could use.
    """
    lookup(PROTOCOLS, config.protocol, "protocol")
    for name in config.method:
        unrolling = lookup(METHODS, name, "method").unrolling
        core.require(
            not unrolling or config.optimizer != "lion",
            f"{name} differentiates the discriminator's updates, and those of lion, which are"
            " signs, have no derivative: choose another optimizer",
        )
    if config.loss:
        lookup(LOSSES, config.loss, "GAN loss")
    core.require_at_least(1, config, "num_eval", "batch_size")
    core.require_at_least(0, config, "learning_rate", "penalty_weight", "noise_scale")


def inputs_of(dataset: data.Dataset) -> Inputs:
    """Make the inputs of a density, which is sampled on the device inside the compiled step.

    Args:
        dataset: the density.

    Returns:
        Inputs without arrays.
    """
    return Inputs({}, dataset.info.record(), dataset)


def model(config: ToyGanConfig, hyper: dict[str, Any], dataset: dict[str, Any]) -> Model:
    """Make the game of one method; if it averages the generator, samples are those of the average.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        dataset: recorded identity of the data.

    Returns:
        The model.
    """
    method = METHODS[config.method[0]]
    game = toy_gan(
        PROTOCOLS[config.protocol],
        method,
        config.loss or None,
        penalty_weight=hyper["penalty_weight"],
        noise_scale=hyper["noise_scale"],
    )
    return game if method.average_decay is None else training.with_average(game, AVERAGED)


def build(config: ToyGanConfig, hyper: dict[str, Any], inputs: Inputs) -> Task:
    """Make one seed of one method: draw data and latents, move both players, count modes.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        inputs: arrays, identity and context of the run.

    Returns:
        The task of one seed.
    """
    density = inputs.context.density
    protocol = PROTOCOLS[config.protocol]
    method = METHODS[config.method[0]]
    game = model(config, hyper, inputs.identity)
    num_examples = (config.batch_size or protocol.batch_size) * method.packing
    draw_data = data.draws(inputs.context, num_examples)

    def draw(arrays, data_key, index):
        key_x, key_z = jax.random.split(data_key)
        z = core.normal(jax.random.fold_in(key_z, index), (num_examples, protocol.latent_size))
        return {"x": draw_data(arrays, key_x, index)["x"], "z": z}

    def evaluate(train_state, arrays, key):
        del arrays
        key_z, key_perfect = jax.random.split(key)
        samples = game.sample(train_state.params, train_state.state, key_z, config.num_eval)
        coverage = evaluation.mode_coverage(samples, density.means, density.scale)
        perfect = evaluation.perfect_sampler(
            key_perfect, density.means, density.scale, config.num_eval
        )
        exact = {
            f"perfect_{name}": getattr(perfect, name)
            for name in ("modes", "valid", "mode_tv", "reverse_kl")
        }
        return {**coverage._asdict(), **exact, "samples": samples[:SHOWN]}

    return Task(
        game.init,
        draw,
        _algorithm(config, hyper, method, game),
        evaluate,
        protocol.batch_coupling,
    )


def _algorithm(
    config: ToyGanConfig, hyper: dict[str, Any], method: Method, game: Model
) -> Callable[[Replica], Algorithm]:
    """The dynamics with an optimizer for each player, and an average if the method has one."""
    protocol = PROTOCOLS[config.protocol]
    rate = hyper["learning_rate"]
    rate = protocol.learning_rate if rate is None else rate
    ratio = protocol.generator_ratio if method.generator_ratio is None else method.generator_ratio
    # Adam has no derivative at a second moment of zero.
    eps_root = 1e-16 if method.unrolling else 0.0
    own = functools.partial(optimizer_of, config, hyper, b1=protocol.b1, b2=protocol.b2)
    num_updates = game.players["discriminator"].num_updates
    optimizers = {
        "discriminator": own(rate, eps_root=eps_root, num_updates=num_updates),
        "generator": own(rate * ratio),
    }
    name = method.dynamics or protocol.dynamics
    rule = lookup(training.DYNAMICS, name, "dynamics")
    options = {"strength": method.consensus_strength} if name == "consensus" else {}
    rule = functools.partial(rule, game.players, optimizers, **options)
    if method.average_decay is None:
        return rule
    return lambda replica: training.averaged(rule(replica), AVERAGED, method.average_decay)


def plots(results: list[ArmResult], inputs: Inputs) -> dict[str, tuple[Any, str]]:
    """Plot samples of every arm, a panel for each seed.

    Args:
        results: the finished arms.
        inputs: arrays, identity and context of the run.

    Returns:
        {name: (plot, caption)}.
    """
    density = inputs.context.density
    plots = {}
    for result in results:
        samples = result.arrays["samples"]
        means = np.asarray(density.means)
        figure = plotting.scatter_samples(samples, means, scale=density.scale, title=result.name)
        caption = (
            f"{result.name}: samples at fixed noise, a panel a seed; crosses are the modes,"
            " circles three sigma."
        )
        plots[f"samples_{result.name}"] = (figure, caption)
    return plots


def snapshots(result: ArmResult, inputs: Inputs, step: int) -> dict[str, tuple[Any, str]]:
    """Plot the first seeds' samples during training.

    Args:
        result: an arm.
        inputs: arrays, identity and context of the run.
        step: the training step.

    Returns:
        {name: (plot, caption)}.
    """
    density = inputs.context.density
    samples = result.arrays["samples"][:5]
    means = np.asarray(density.means)
    title = f"{result.name}, step {step}"
    figure = plotting.scatter_samples(samples, means, scale=density.scale, title=title)
    return {"samples": (figure, f"{result.name}: samples at fixed noise after {step} steps.")}
