"""A VAE with categorical latents, trained by one estimator, and bounds on its likelihood."""

import functools
import math
import pathlib
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax import data, likelihood, sampling, training
from dgm_jax.core import Model, Task, lookup, require, require_at_least, require_positive
from dgm_jax.experiments._shared import available, binary_images
from dgm_jax.experiments._shared.binary_images import plots
from dgm_jax.experiments.gumbel_vae_images import Config
from dgm_jax.models import GumbelVae, exact_log_prob, gumbel_bounds, gumbel_vae
from dgm_jax.models.latent import log_weights
from dgm_jax.networks import MLP, PRECISIONS, from_flax, in_precision, reshaped
from dgm_jax.run import Inputs, optimizer_of
from dgm_jax.run.settings import SettingsView
from dgm_jax.sampling.estimators import ESTIMATORS

__all__ = ["build", "load", "model", "plots", "references", "resolve", "validate"]

MAX_CONFIGURATIONS = 4096  # latents that are enumerated

JANG = {
    "gumbel_softmax": 101.5,
    "straight_through_gumbel_softmax": 107.8,
    "straight_through": 110.9,
    "muprop": 107.0,
    "score_function": 110.6,
}

resolve = functools.partial(available.resolve, num_eval="test")


def validate(config: Config) -> None:
    """Check names and ranges, before anything is loaded.

    Args:
        config: the settings.

    Raises:
        ConfigError: for settings that no run could use.
    """
    for name in config.estimator:
        lookup(ESTIMATORS, name, "gradient estimator")
    lookup(PRECISIONS, config.precision, "precision")
    require_at_least(1, config, "num_variables", "batch_size", "num_importance", "num_eval")
    require_at_least(2, config, "num_classes")
    require(
        min(config.hidden, default=1) >= 1,
        f"hidden must be widths of at least 1, got {config.hidden}",
    )
    chunk = min(10, config.num_importance)
    require(
        config.num_importance % chunk == 0,
        f"num_importance must be a multiple of 10, got {config.num_importance}",
    )
    require_at_least(0, config, "anneal_rate")
    require_positive(config, "learning_rate")
    latents = f"{config.num_classes}^{config.num_variables}"
    require(
        "exact" not in config.estimator or _enumerable(config),
        f"exact needs at most {MAX_CONFIGURATIONS} latents, got {latents}",
    )


def _enumerable(config: Config) -> bool:
    """Whether the latents are few enough to enumerate; the exponent is capped as 2^32 are not."""
    return config.num_classes ** min(config.num_variables, 32) <= MAX_CONFIGURATIONS


def load(settings: SettingsView, needed: tuple[pathlib.Path | None, ...]) -> Inputs:
    """Load images, each pixel drawn once with probability x / 255.

    Args:
        settings: the settings that concern the data.
        needed: folders of the runs of `needs`.

    Returns:
        Arrays, identity and context of the run.
    """
    return binary_images.load(settings.data, "static", {"num_eval": ("test", settings.num_eval)})


def networks_of(config: Config, shape: tuple[int, int, int]) -> GumbelVae:
    """Make encoder and decoder of the settings.

    Args:
        config: the settings.
        shape: (H, W, C) of an image.

    Returns:
        The recipe of the VAE.
    """
    latent = (config.num_variables, config.num_classes)
    encoder = from_flax(MLP((*config.hidden, latent[0] * latent[1]), "relu", "glorot"))
    decoder = from_flax(MLP((*reversed(config.hidden), math.prod(shape)), "relu", "glorot"))
    encoder = in_precision(reshaped(encoder, latent), config.precision)
    decoder = in_precision(reshaped(decoder, shape), config.precision)
    return GumbelVae(encoder, decoder, latent[:1], latent[1])


def _schedule(hyper: dict[str, Any]):
    """`step -> temperature`."""
    return functools.partial(
        sampling.temperature.exponential, rate=hyper["anneal_rate"], floor=0.5, hold=500
    )


def model(config: Config, hyper: dict[str, Any], dataset: dict[str, Any]) -> Model:
    """Make the VAE, trained by the arm's estimator.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        dataset: recorded identity of the data.

    Returns:
        The model.
    """
    shape = tuple(dataset["shape"])
    options = {"estimator": config.estimator[0], "temperature": _schedule(hyper)}
    return gumbel_vae(networks_of(config, shape), shape, **options)


def build(config: Config, hyper: dict[str, Any], inputs: Inputs) -> Task:
    """Make one seed: an estimator trains encoder and decoder; bounds on log p of test images.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        inputs: arrays, identity and context of the run.

    Returns:
        The task of one seed.
    """
    vae = networks_of(config, inputs.context.info.shape)
    schedule = _schedule(hyper)
    game = model(config, hyper, inputs.identity)
    draw = binary_images.draw_with_step(inputs, config.batch_size)
    enumerable = _enumerable(config)

    def evaluate(train_state, arrays, key):
        params = train_state.params
        state = train_state.state
        x = data.to_model_range(arrays["test"]["image"][: config.num_eval], "unit")
        key_bound, key_hard, key_sample = jax.random.split(key, 3)

        def weights(key, x, num):
            return log_weights(key, vae, params, state, x, num)

        estimate = likelihood.importance_weighted(
            key_bound, weights, x, config.num_importance, batch_size=100
        )
        terms = gumbel_bounds(key_hard, vae, params, state, x, schedule(train_state.step))
        hard = jnp.mean(terms["hard"].elbo)
        relaxed = jnp.mean(terms["relaxed"].elbo)
        exact = {"log_prob": jnp.mean(exact_log_prob(vae, params, state, x))} if enumerable else {}
        return exact | {
            "negative_bound": -jnp.mean(estimate.log_prob),
            "effective_sample_size": jnp.mean(estimate.effective_sample_size),
            "test_elbo": hard,
            "relaxed_elbo": relaxed,
            "relaxation_gap": relaxed - hard,
            "test_kl": jnp.mean(terms["hard"].kl),
            "images": game.sample(params, state, key_sample, binary_images.SHOWN),
        }

    optimizers = {"vae": optimizer_of(config, hyper, hyper["learning_rate"], name="momentum")}
    return Task(
        game.init,
        draw,
        functools.partial(training.alternating, game.players, optimizers),
        evaluate,
    )


def references(config: Config) -> list[dict[str, Any]]:
    """Jang et al.'s table: for MNIST, so for other data it is context without a verdict.

    Args:
        config: the settings.

    Returns:
        Rows with metric, published value, spread and source.
    """
    published = JANG.get(config.estimator[0])
    if published is None or (config.num_variables, config.num_classes) != (20, 10):
        return []
    other = config.data != "mnist"
    source = "Jang et al. 2017, table 1, VAE Cat, m = 1000, MNIST"
    if other:
        source += f" (not {config.data})"
    row = {"metric": "negative_bound", "published": published, "spread": None, "source": source}
    return [row | {"context": True} if other else row]
