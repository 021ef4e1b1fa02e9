"""One family of approximations, fitted to one posterior."""

import functools
import pathlib
from typing import Any

from dgm_jax import training
from dgm_jax.core import Model, Task, require, require_at_least, require_at_most, require_positive
from dgm_jax.densities.posteriors import POSTERIORS
from dgm_jax.experiments.avb_posteriors import Config
from dgm_jax.experiments.avb_posteriors.measure import (
    PART,
    Truth,
    evaluate_family,
    split_arm,
    truth,
)
from dgm_jax.experiments.avb_posteriors.plots import plots, snapshots
from dgm_jax.models.posterior_families import Family, gaussian_family, implicit_family
from dgm_jax.networks import ResidualCritic, from_flax
from dgm_jax.run import Inputs, optimizer_of
from dgm_jax.run.settings import SettingsView

__all__ = ["build", "load", "model", "plots", "snapshots", "validate"]

COUPLING = "adaptive contrast takes the moments of a batch of draws"


def validate(config: Config) -> None:
    """Check names and sizes, before anything is built.

    Args:
        config: the settings.

    Raises:
        ConfigError: for settings that no run could use.
    """
    for name in config.arm:
        split_arm(name)
    require_at_least(2, config, "batch_size")
    require_at_least(1, config, "num_critic_updates", "noise_size", "critic_width")
    require_at_least(0, config, "critic_blocks")
    require_at_most(1_000, config, "critic_blocks")
    require_at_most(10_000, config, "num_critic_updates")
    require(
        bool(config.hidden) and min(config.hidden) >= 1,
        f"hidden must be positive widths, got {config.hidden}",
    )
    require_positive(config, "gaussian_learning_rate", "learning_rate", "critic_learning_rate")


def load(settings: SettingsView, needed: tuple[pathlib.Path | None, ...]) -> Inputs:
    """Compute the exact values of each posterior of the run; there are no data.

    Args:
        settings: the settings that concern the data.
        needed: folders of the runs of `needs`.

    Returns:
        Arrays, identity and context of the run.
    """
    names = sorted({split_arm(arm)[0] for arm in settings.arm})
    return Inputs(
        {name: truth(name)._asdict() for name in names},
        {"name": "no data", "identity": ", ".join(names)},
    )


def _family(config: Config) -> Family:
    posterior, name = split_arm(config.arm[0])
    target = POSTERIORS[posterior]
    if name != "avb":
        return gaussian_family(target, config.batch_size, name == "full_rank")
    critic = from_flax(ResidualCritic(config.critic_width, config.critic_blocks))
    return implicit_family(
        target,
        config.batch_size,
        noise_size=config.noise_size,
        hidden=config.hidden,
        critic=critic,
        num_critic_updates=config.num_critic_updates,
        num_judged=PART,
    )


def model(config: Config, hyper: dict[str, Any], dataset: dict[str, Any]) -> Model:
    """Make the arm's family; samples [num_samples, D] are draws of it.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        dataset: recorded identity of the data.

    Returns:
        The model.
    """
    family = _family(config)

    def sample(params, state, key, num_samples):
        return family.draw(key, params, num_samples)

    return Model(family.init, family.players, sample)


def build(config: Config, hyper: dict[str, Any], inputs: Inputs) -> Task:
    """Make one seed of one family on one posterior.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        inputs: arrays, identity and context of the run.

    Returns:
        The task of one seed.
    """
    posterior, name = split_arm(config.arm[0])
    target = POSTERIORS[posterior]
    family = _family(config)
    game = model(config, hyper, inputs.identity)
    rates = {"q": hyper["gaussian_learning_rate"]}
    if name == "avb":
        rates = {"q": hyper["learning_rate"], "critic": hyper["critic_learning_rate"]}
    optimizers = {
        player: optimizer_of(
            config,
            hyper,
            rate,
            schedule="cosine",
            b1=0.5 if name == "avb" else None,
            num_updates=game.players[player].num_updates,
        )
        for player, rate in rates.items()
    }

    def evaluate(train_state, arrays, key):
        return evaluate_family(key, family, target, train_state.params, Truth(**arrays[posterior]))

    return Task(
        init=game.init,
        draw=lambda arrays, data_key, index: {},
        algorithm=functools.partial(training.alternating, game.players, optimizers),
        evaluate=evaluate,
        batch_coupling=COUPLING if name == "avb" else None,
    )
