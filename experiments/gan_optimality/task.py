"""A discriminator of known densities, compared with the optimal one."""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import plotting, training
from dgm_jax.core import Aux, Player, Task, lookup, require_at_least, require_positive
from dgm_jax.evaluation import discriminator_distances
from dgm_jax.experiments.gan_optimality import Config
from dgm_jax.experiments.gan_optimality.pairs import PAIRS, tabulate
from dgm_jax.networks import ACTIVATIONS, MLP, from_flax
from dgm_jax.objectives import gan
from dgm_jax.run import ArmResult, Inputs, optimizer_of
from dgm_jax.run.settings import SettingsView

SOURCE = (
    "Goodfellow et al. 2014, theorem 1: 2 JSD - 2 log 2 by quadrature in double precision; +- .01"
    " nats is our aim"
)
OPTIMAL_VALUES = {"mixture_1d": -1.27869, "mixture_2d": -1.02722, "ring": -0.70016}


def validate(config: Config) -> None:
    """Check that arms are known, and sizes make a network.

    Args:
        config: the settings.

    Raises:
        ConfigError: for settings that no run could use.
    """
    for name in config.arm:
        lookup(PAIRS, name, "arm")
    require_at_least(1, config, "batch_size", "hidden")
    lookup(ACTIVATIONS, config.activation, "activation")
    require_positive(config, "learning_rate")


def load(settings: SettingsView, needed: tuple[pathlib.Path | None, ...]) -> Inputs:
    """Put the grid of every arm on the device; the samplers stay functions.

    Args:
        settings: the settings that concern the data.
        needed: folders of the runs of `needs`.

    Returns:
        Arrays, identity and context of the run.
    """
    pairs = {arm: PAIRS[arm]() for arm in settings.arm}
    identity = {
        "name": ", ".join(pairs),
        "kind": "densities known in closed form, fresh samples in every step",
    }
    return Inputs({arm: tabulate(pair) for arm, pair in pairs.items()}, identity, pairs)


def build(config: Config, hyper: dict[str, Any], inputs: Inputs) -> Task:
    """Make one discriminator, trained on samples of p and q while both are fixed.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        inputs: arrays, identity and context of the run.

    Returns:
        The task of one seed.
    """
    arm = config.arm[0]
    pair = inputs.context[arm]
    network = from_flax(MLP((config.hidden, config.hidden, 1), config.activation, squeeze=True))

    def init(key):
        params, state = network.init(key, jnp.zeros((1, pair.points.shape[-1])))
        return {"discriminator": params}, {"discriminator": state}

    def draw(arrays, data_key, index):
        key_p, key_q = jax.random.split(jax.random.fold_in(data_key, index))
        return {
            "p": pair.sample_p(key_p, config.batch_size),
            "q": pair.sample_q(key_q, config.batch_size),
        }

    def logits(params, x):
        return network.apply(params["discriminator"], {}, x, train=False)[0]

    def loss(params, state, batch, key):
        real = logits(params, batch["p"])
        fake = logits(params, batch["q"])
        return gan.LOSSES["minimax"].discriminator(real, fake), Aux(state, {})

    def evaluate(train_state, arrays, key):
        on_grid = logits(train_state.params, arrays[arm].points)
        return {**discriminator_distances(on_grid, arrays[arm], pair.cell), "logits": on_grid}

    players = {"discriminator": Player(("discriminator",), loss)}
    optimizer = optimizer_of(config, hyper, hyper["learning_rate"], schedule="cosine")
    algorithm = functools.partial(training.simultaneous, players, {"discriminator": optimizer})
    return Task(init, draw, algorithm, evaluate)


def references(config: Config) -> list[dict[str, Any]]:
    """The value of the optimal discriminator, and the gap that counts as closed.

    Args:
        config: the settings.

    Returns:
        Rows with metric, published value, spread and source.
    """
    published = OPTIMAL_VALUES[config.arm[0]]
    return [
        {"metric": "value", "published": published, "spread": 0.01, "source": SOURCE},
        {"metric": "gap", "published": 0.0, "spread": 0.01, "source": SOURCE},
    ]


def plots(results: list[ArmResult], inputs: Inputs) -> dict[str, tuple[Any, str]]:
    """Plot the logit of the first seed and the optimal one, cut at +-8, beyond which D is sure.

    Args:
        results: the finished arms.
        inputs: arrays, identity and context of the run.

    Returns:
        {name: (plot, caption)}.
    """
    plots = {}
    for result in results:
        arm = result.config.arm[0]
        grid = inputs.arrays[arm]
        pair = inputs.context[arm]
        best = np.clip(gan.optimal_logits(grid.log_p, grid.log_q), -8, 8)
        network = np.clip(result.arrays["logits"], -8, 8)
        caption = (
            f"{result.name}: logit of the trained discriminator and log p - log q, both cut at +-8."
        )
        if pair.points.shape[-1] == 1:
            curves = {"optimal": best, "network": network.T}
            figure = plotting.lines(
                pair.points[:, 0], curves, title=result.name, xlabel="x", ylabel="logit"
            )
        else:
            axis = np.unique(pair.points[:, 0])
            middle = np.abs(axis) < 4
            panels = np.stack([best, network[0], network[0] - best]).reshape(
                3, len(axis), len(axis)
            )
            panels = panels[:, middle][:, :, middle]
            axis = axis[middle]
            titles = ["log p - log q", "network", "difference"]
            figure = plotting.heatmap_on_grid(
                panels, axis, axis, titles=titles, color_label="logit", signed=True
            )
        plots[f"logit_{result.name}"] = (figure, caption)
    return plots
