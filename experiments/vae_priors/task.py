"""A VAE under one prior: likelihood of test images, and surgery of training images."""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import data, likelihood, training
from dgm_jax.core import (
    Array,
    Key,
    Metrics,
    Model,
    Params,
    State,
    Task,
    TrainState,
    lookup,
    require,
    require_at_least,
    require_at_most,
)
from dgm_jax.experiments._shared import available, binary_images
from dgm_jax.experiments._shared.binary_images import plots
from dgm_jax.experiments._shared.vae import task as study
from dgm_jax.experiments.vae_priors import Config
from dgm_jax.models import Vae, latent, vae
from dgm_jax.models.latent import log_weights, terms
from dgm_jax.models.posteriors import annealing_start
from dgm_jax.run import Inputs, optimizer_of
from dgm_jax.run.settings import SettingsView

__all__ = ["build", "load", "model", "plots", "references", "resolve", "validate"]

VAMP = "Tomczak and Welling 2018, VAE, static MNIST, other networks"
PUBLISHED = {"standard_normal": (-88.56, f"{VAMP}; quoted from memory"), "vamp": (-85.57, VAMP)}

resolve = functools.partial(available.resolve, num_eval="test", num_ais="test", num_surgery="train")


def validate(config: Config) -> None:
    """Check names and ranges, before anything is loaded.

    Args:
        config: the settings.

    Raises:
        ConfigError: for settings that no run could use.
    """
    study.validate(config)
    for name in config.prior:
        study.validate_prior(name)
    require_at_least(
        1,
        config,
        "num_components",
        "num_samples",
        "num_importance",
        "num_eval",
        "num_ais",
        "ais_steps",
        "num_chains",
    )
    require_at_least(2, config, "num_surgery")
    require_at_most(1_000_000, config, "ais_steps")
    lookup(latent.BOUNDS, config.bound, "bound")
    latent.require_free_bits(config.free_bits, config.bound)
    require(
        config.num_ais <= config.num_eval,
        f"the num_ais={config.num_ais} annealed images are among the num_eval={config.num_eval}"
        " first: give fewer",
    )
    chunk = min(10, config.num_importance)
    require(
        config.num_importance % chunk == 0,
        f"num_importance must be a multiple of 10, got {config.num_importance}",
    )


def load(settings: SettingsView, needed: tuple[pathlib.Path | None, ...]) -> Inputs:
    """Load binarized images.

    Args:
        settings: the settings that concern the data.
        needed: folders of the runs of `needs`.

    Returns:
        Arrays, identity and context of the run.
    """
    return study.inputs_of(settings, "num_eval", "num_ais", "num_surgery")


def _recipe(config: Config, dataset: dict[str, Any], images=None) -> Vae:
    return study.recipe(
        config,
        dataset,
        config.latent_size,
        prior=config.prior[0],
        num_components=config.num_components,
        images=images,
    )


def model(
    config: Config,
    hyper: dict[str, Any],
    dataset: dict[str, Any],
    images: np.ndarray | None = None,
) -> Model:
    """Make the VAE under the arm's prior.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        dataset: recorded identity of the data.
        images: training images from which a VampPrior starts; only `init` uses them.

    Returns:
        The model.
    """
    return vae(
        _recipe(config, dataset, images),
        tuple(dataset["shape"]),
        beta=study.linear_warm_up(config),
        bound=config.bound,
        num_samples=None if config.num_samples == 1 else config.num_samples,
        free_bits=config.free_bits,
    )


def build(config: Config, hyper: dict[str, Any], inputs: Inputs) -> Task:
    """Make one seed under one prior: the ELBO during training, likelihood and surgery at the end.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        inputs: arrays, identity and context of the run.

    Returns:
        The task of one seed.
    """
    images = inputs.context.train["image"]
    recipe = _recipe(config, inputs.identity, images)
    game = model(config, hyper, inputs.identity, images)
    optimizers = {"vae": optimizer_of(config, hyper, hyper["learning_rate"], schedule="cosine")}
    algorithm = functools.partial(training.alternating, game.players, optimizers)
    draw = binary_images.draw_with_step(inputs, config.batch_size)
    evaluate_final = functools.partial(_evaluate_final, config, recipe)
    evaluate = functools.partial(_evaluate, recipe, game)
    coupling = latent.FREE_BITS_COUPLING if config.free_bits > 0 else None
    return Task(game.init, draw, algorithm, evaluate, coupling, evaluate_final)


def _evaluate(recipe, game, train_state: TrainState, arrays: dict[str, Any], key: Key) -> Metrics:
    """One draw of the bound for every test image, and samples."""
    params = train_state.params
    state = train_state.state
    key_bound, key_sample = jax.random.split(key)
    x = data.to_model_range(arrays["test"]["image"], "unit")
    elbo_terms = terms(key_bound, recipe, params, state, x)
    return {
        "test_elbo": jnp.mean(elbo_terms.elbo),
        "test_log_likelihood_term": jnp.mean(elbo_terms.log_likelihood),
        "test_kl": jnp.mean(elbo_terms.kl),
        "images": game.sample(params, state, key_sample, binary_images.SHOWN),
    }


def _evaluate_final(
    config, recipe, train_state: TrainState, arrays: dict[str, Any], key: Key
) -> Metrics:
    """log p(x) of test images, and the surgery of training images."""
    params = train_state.params
    state = train_state.state
    key_weights, key_surgery, key_ais = (jax.random.fold_in(key, i) for i in range(3))

    def weights(key, x, num):
        return log_weights(key, recipe, params, state, x, num)

    images = binary_images.training_images(arrays)[: config.num_surgery]
    test = data.to_model_range(arrays["test"]["image"][: config.num_eval], "unit")
    estimate = likelihood.importance_weighted(
        key_weights, weights, test, config.num_importance, batch_size=100
    )
    mean = jnp.mean(estimate.log_prob)
    return {
        "log_prob": mean,
        "negative_log_prob": -mean,
        "log_prob_same": jnp.mean(estimate.log_prob[: config.num_ais]),
        "log_prob_error": likelihood.average(estimate).monte_carlo_error,
        "effective_sample_size": jnp.mean(estimate.effective_sample_size),
        **_annealed(key_ais, config, recipe, params, state, test[: config.num_ais]),
        **study.surgery(key_surgery, recipe, params, state, images),
    }


def _annealed(key: Key, config, recipe, params: Params, state: State, x: Array):
    """Annealed importance sampling from the posterior: a mean over images, and its error."""
    settings = likelihood.Settings(num_steps=config.ais_steps, num_chains=config.num_chains)
    estimate = study.annealed(key, settings, annealing_start(recipe, params, state, x))
    moves = {} if estimate.acceptance is None else {"acceptance": jnp.mean(estimate.acceptance)}
    return {
        "annealed_log_prob": jnp.mean(estimate.log_prob),
        "annealed_error": likelihood.average(estimate).monte_carlo_error,
        "annealed_sample_size": jnp.mean(estimate.effective_sample_size),
    } | moves


def references(config: Config) -> list[dict[str, Any]]:
    """VampPrior's table: for MNIST and larger networks, so it is context without a verdict.

    Args:
        config: the settings.

    Returns:
        Rows with metric, published value, spread and source.
    """
    known = PUBLISHED.get(config.prior[0])
    if known is None:
        return []
    published, source = known
    return [
        {
            "metric": "log_prob",
            "published": published,
            "spread": None,
            "source": source,
            "context": True,
        }
    ]
