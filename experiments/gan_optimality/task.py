"""A discriminator against densities that are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dgm_jax import plotting, training
from dgm_jax.core import Aux, Player, Task, lookup, require_at_least, require_positive
from dgm_jax.evaluation import discriminator_distances
from dgm_jax.experiments.gan_optimality import Config
from dgm_jax.experiments.gan_optimality.pairs import PAIRS, tabulate
from dgm_jax.networks import ACTIVATIONS, MLP, from_flax
from dgm_jax.objectives import gan
from dgm_jax.run import Inputs

SOURCE = (
    "Goodfellow et al. 2014, theorem 1: 2 JSD - 2 log 2 by quadrature in double precision; +- .01"
    " nats is our aim"
)
OPTIMAL_VALUES = {"mixture_1d": -1.27869, "mixture_2d": -1.02722, "ring": -0.70016}


def validate(config: Config) -> None:
    """Known arms, and sizes that make a network."""
    for name in config.arm:
        lookup(PAIRS, name, "arm")
    require_at_least(1, config, "batch_size", "hidden")
    lookup(ACTIVATIONS, config.activation, "activation")
    require_positive(config, "learning_rate")


def load(settings, needed) -> Inputs:
    """The grid of every arm goes to the device; the samplers stay functions."""
    pairs = {arm: PAIRS[arm]() for arm in settings.arm}
    identity = {
        "name": ", ".join(pairs),
        "kind": "densities known in closed form, fresh samples in every step",
    }
    return Inputs({arm: tabulate(pair) for arm, pair in pairs.items()}, identity, pairs)


def build(config: Config, hyper, inputs: Inputs) -> Task:
    """One discriminator, trained on samples of p and q while both stand still."""
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
        real, fake = logits(params, batch["p"]), logits(params, batch["q"])
        return gan.LOSSES["minimax"].discriminator(real, fake), Aux(state, {})

    def evaluate(train_state, arrays, key):
        found = logits(train_state.params, arrays[arm].points)
        return {**discriminator_distances(found, arrays[arm], pair.cell), "logits": found}

    players = {"discriminator": Player(("discriminator",), loss)}
    optimizers = {
        "discriminator": optax.adam(
            training.learning_rate("cosine", hyper["learning_rate"], config.num_steps)
        )
    }
    return Task(init, draw, functools.partial(training.simultaneous, players, optimizers), evaluate)


def references(config: Config) -> list[dict]:
    """The value of the optimal discriminator, and the gap that we call closed."""
    published = OPTIMAL_VALUES[config.arm[0]]
    return [
        {"metric": "value", "published": published, "spread": 0.01, "source": SOURCE},
        {"metric": "gap", "published": 0.0, "spread": 0.01, "source": SOURCE},
    ]


def figures(results, inputs: Inputs) -> dict:
    """The logit of the first seed beside the optimal one, cut at +-8 where D is sure anyway."""
    found = {}
    for result in results:
        arm = result.config.arm[0]
        grid, pair = inputs.arrays[arm], inputs.context[arm]
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
            panels, axis = panels[:, middle][:, :, middle], axis[middle]
            titles = ["log p - log q", "network", "difference"]
            figure = plotting.heatmap_on_grid(
                panels, axis, axis, titles=titles, color_label="logit", signed=True
            )
        found[f"logit_{result.name}"] = (figure, caption)
    return found
