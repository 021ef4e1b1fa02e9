"""Is a trained discriminator the optimal one? A network against densities that are known.

    python -m experiments.gan_optimality
    python -m experiments.gan_optimality --arm ring --num_steps 20000 --hidden 128

The generator stands still, so p and q are known and so is the best discriminator: its logit is log
p - log q, and V(G, D*) = 2 JSD(p, q) - 2 log 2 (Goodfellow et al. 2014, proposition 1 and theorem
1). A network sees samples only, and is trained on their cross-entropy; over training we measure on
a grid how far its logit is from the optimal one and how far its value, by quadrature and not on
samples, is below that of D*. The gap is what a GAN's "JSD" lacks. Measured (2026-11-22, 5 seeds,
4,000 steps, mean): gaps of .0001, .0006 and .0025 nats below JSDs of .0538, .1795 and .3431 (line,
plane, ring). The logit is off by .025, .076 and .176 (root mean square) where D* is between .01 and
.99; beyond that it may be off by more, where neither V nor any sample says much about it.
"""

import dataclasses
import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dgm_jax import parallel, plotting, training
from dgm_jax.core import Aux, Player, Task, lookup, require_at_least, require_positive
from dgm_jax.networks import ACTIVATIONS, MLP, from_flax
from dgm_jax.objectives import gan
from dgm_jax.run import Data, Experiment, RunConfig, main
from dgm_jax.studies.gan_optimality import PAIRS, distances, tabulate

SOURCE = (
    "Goodfellow et al. 2014, theorem 1: 2 JSD - 2 log 2 by quadrature in double precision; +- .01"
    " nats is our aim"
)
OPTIMAL_VALUES = {"mixture_1d": -1.27869, "mixture_2d": -1.02722, "ring": -0.70016}


@dataclasses.dataclass(frozen=True)
class Config(RunConfig):
    """Does the trained discriminator reach log p / q?"""

    arm: tuple[str, ...] = tuple(PAIRS)
    """Data and generator: mixture_1d, mixture_2d or ring, each against a Gaussian."""
    num_steps: int = 4_000
    log_every: int = 400
    batch_size: int = 512
    """Samples of p, and as many of q, in each step; all of them fresh."""
    hidden: int = 64
    """Width of the two hidden layers."""
    activation: str = "leaky_relu"
    """A name of networks.activations."""
    learning_rate: float = 1e-2
    """Adam's, at the start; it falls to zero along a cosine."""


def validate(config: Config) -> None:
    """Known arms, and sizes that make a network."""
    for name in config.arm:
        lookup(PAIRS, name, "arm")
    require_at_least(1, config, "batch_size", "hidden")
    lookup(ACTIVATIONS, config.activation, "activation")
    require_positive(config, "learning_rate")


def load(config: Config) -> Data:
    """The grid of every arm goes to the device; the samplers stay functions."""
    pairs = {arm: PAIRS[arm]() for arm in config.arm}
    identity = {
        "name": ", ".join(pairs),
        "kind": "densities known in closed form, fresh samples in every step",
    }
    return Data({arm: tabulate(pair) for arm, pair in pairs.items()}, identity, pairs)


def build(config: Config, loaded: Data) -> Task:
    """One discriminator, trained on samples of p and q while both stand still."""
    arm = config.arm[0]
    pair = loaded.dataset[arm]
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
        return {**distances(found, arrays[arm], pair.cell), "logits": found}

    players = {"discriminator": Player(("discriminator",), loss)}
    optimizers = {
        "discriminator": optax.adam(
            training.learning_rate("cosine", config.learning_rate, config.num_steps)
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


def figures(results, loaded: Data) -> dict:
    """The logit of the first seed beside the optimal one, cut at +-8 where D is sure anyway."""
    found = {}
    for result in results:
        grid, pair = loaded.arrays[result.name], loaded.dataset[result.name]
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
                panels, axis, axis, titles=titles, colour_label="logit", signed=True
            )
        found[f"logit_{result.name}"] = (figure, caption)
    return found


EXPERIMENT = Experiment(
    name="gan_optimality",
    config=Config,
    load=load,
    build=build,
    distribute=parallel.distribute,
    validate=validate,
    figures=figures,
    references=references,
    headline=(
        "value",
        "gap",
        "jsd",
        "js_lower_bound",
        "logit_rms_undecided",
        "logit_max_undecided",
    ),
    explanations={
        "value": "V(G, D) of the network, by quadrature: no sampling error.",
        "optimal_value": "V(G, D*) = 2 JSD(p, q) - 2 log 2 on the same grid.",
        "gap": "optimal_value - value in nats, at least 0: what the network lacks.",
        "jsd": "The Jensen-Shannon divergence of p and q, by quadrature.",
        "js_lower_bound": "log 2 + value / 2: what the network says about the JSD, from below.",
        "logit_rms": (
            "Root mean square of logit - (log p - log q) under (p + q) / 2, tails included."
        ),
        "logit_rms_undecided": "The same where D* is between .01 and .99, inside 99 % of the mass.",
        "logit_max_undecided": "The largest such distance there.",
        "probability_rms": "Root mean square of D - D* under (p + q) / 2.",
    },
    arm_field="arm",
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
