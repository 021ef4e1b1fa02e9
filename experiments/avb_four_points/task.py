"""A VAE and adversarial variational Bayes on four points."""

import functools
import pathlib
from typing import Any, NamedTuple

import jax

from dgm_jax import priors, training
from dgm_jax.core import Model, Task, lookup, require_at_least, require_at_most
from dgm_jax.experiments.avb_four_points import Config
from dgm_jax.experiments.avb_four_points.measure import SHAPE, evaluate_avb, evaluate_vae, points
from dgm_jax.experiments.avb_four_points.plots import plots, snapshots
from dgm_jax.models import AdversarialVae, Vae
from dgm_jax.models import adversarial_variational_bayes as avb_recipe
from dgm_jax.models import vae as vae_recipe
from dgm_jax.networks import MLP, NoiseEncoder, ResidualCritic, from_flax, reshaped
from dgm_jax.run import Inputs, optimizer_of
from dgm_jax.run.settings import SettingsView

__all__ = ["build", "load", "model", "plots", "references", "snapshots", "validate"]

NOISE_SIZE = 64
HIDDEN = (64, 64, 64)

# The table as quoted from memory. Its VAE column is confirmed to .002 nats by a NumPy run of the
# authors' protocol, so the VAE gets a verdict; the AVB column is not confirmed, so it is context.
PAPER = "Mescheder et al. 2017, four points, quoted from memory"
PUBLISHED = {
    "vae": {
        "log_likelihood": (-1.568, 0.01),
        "elbo": (-1.697, 0.01),
        "reconstruction_error": (88.5e-3, None),
        "marginal_kl": (0.165, None),
    },
    "avb": {
        "log_likelihood": (-1.403, None),
        "elbo": (-1.421, None),
        "reconstruction_error": (5.77e-3, None),
        "marginal_kl": (0.026, None),
    },
}


class Preset(NamedTuple):
    """Adam's settings and the batch size.

    AVB's rates are constant: the critic must keep up until the end.

    Attributes:
        rate: of AVB's encoder and decoder.
        critic_rate: of AVB's critic.
        vae_rate: of the VAE.
        vae_schedule: schedule of the VAE's rate.
        b1: of AVB's two optimizers.
        batch_size: examples in a batch.
    """

    rate: float
    critic_rate: float
    vae_rate: float
    vae_schedule: str
    b1: float
    batch_size: int


PRESETS = {
    "fast": Preset(4e-4, 2e-3, 2e-3, "cosine", 0.5, 256),
    "paper": Preset(2e-5, 1e-4, 2e-5, "constant", 0.9, 512),
}


def validate(config: Config) -> None:
    """Check names and sizes, before anything is built.

    Args:
        config: the settings.

    Raises:
        ConfigError: for settings that no run could use.
    """
    lookup(PRESETS, config.preset, "preset")
    for name in config.model:
        lookup({"vae": 0, "avb": 0}, name, "model")
    require_at_least(1, config, "num_critic_updates", "critic_width")
    require_at_most(10_000, config, "num_critic_updates")


def load(settings: SettingsView, needed: tuple[pathlib.Path | None, ...]) -> Inputs:
    """Make the inputs: four one-hot images, which `build` holds itself.

    Args:
        settings: the settings that concern the data.
        needed: folders of the runs of `needs`.

    Returns:
        Arrays, identity and context of the run.
    """
    identity = {"name": "four_points", "identity": "four_points[one-hot, 2 x 2 pixels]"}
    return Inputs({}, identity)


def _recipe(config: Config) -> Vae | AdversarialVae:
    decoder = reshaped(from_flax(MLP((*HIDDEN, 4), "elu", "glorot")), SHAPE)
    prior = priors.standard_normal(2)
    if config.model[0] == "vae":
        encoder = reshaped(from_flax(MLP((*HIDDEN, 4), "elu", "glorot")), (4,))
        return Vae(encoder, decoder, 2, lambda encode: prior)
    critic = from_flax(ResidualCritic(config.critic_width))
    encoder = from_flax(NoiseEncoder((*HIDDEN, 2)))
    return AdversarialVae(encoder, decoder, critic, prior, 2, NOISE_SIZE)


def model(config: Config, hyper: dict[str, Any], dataset: dict[str, Any]) -> Model:
    """Make the arm's model.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        dataset: recorded identity of the data.

    Returns:
        The model.
    """
    recipe = _recipe(config)
    if isinstance(recipe, Vae):
        return vae_recipe(recipe, SHAPE)
    return avb_recipe(recipe, SHAPE, num_critic_updates=config.num_critic_updates)


def build(config: Config, hyper: dict[str, Any], inputs: Inputs) -> Task:
    """Make one seed of one model; the paper's table is evaluated by integration over the plane.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        inputs: arrays, identity and context of the run.

    Returns:
        The task of one seed.
    """
    preset = PRESETS[config.preset]
    recipe = _recipe(config)
    game = model(config, hyper, inputs.identity)

    def draw(arrays, data_key, index):
        which = jax.random.randint(jax.random.fold_in(data_key, index), (preset.batch_size,), 0, 4)
        return {"x": points()[which], "step": index}

    if isinstance(recipe, Vae):
        evaluate = functools.partial(evaluate_vae, recipe)
        own = optimizer_of(config, hyper, preset.vae_rate, schedule=preset.vae_schedule)
        optimizers = {"vae": own}
    else:
        evaluate = functools.partial(evaluate_avb, recipe)
        rates = {"vae": preset.rate, "critic": preset.critic_rate}
        optimizers = {
            name: optimizer_of(
                config, hyper, rate, b1=preset.b1, num_updates=game.players[name].num_updates
            )
            for name, rate in rates.items()
        }
    algorithm = functools.partial(training.alternating, game.players, optimizers)
    return Task(game.init, draw, algorithm, evaluate)


def references(config: Config) -> list[dict[str, Any]]:
    """The paper's table, with a verdict if a tolerance is known.

    Args:
        config: the settings.

    Returns:
        Rows with metric, published value, spread and source.
    """
    rows = PUBLISHED[config.model[0]]
    return [
        {"metric": k, "published": v, "spread": s, "source": PAPER}
        | ({"context": True} if s is None else {})
        for k, (v, s) in rows.items()
    ]
