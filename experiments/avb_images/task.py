"""AVB and a VAE on binarized images, and their bounds compared with annealing."""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax import data, likelihood, priors, training
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
    require_positive,
)
from dgm_jax.experiments._shared import binary_images
from dgm_jax.experiments._shared.available import resolve
from dgm_jax.experiments._shared.binary_images import plots
from dgm_jax.experiments._shared.vae import task as study
from dgm_jax.experiments.avb_images import Config
from dgm_jax.models import AVB_BATCH_COUPLING, AdversarialVae, Vae, posteriors
from dgm_jax.models import adversarial_variational_bayes as avb_recipe
from dgm_jax.models import avb_terms as adversarial_terms
from dgm_jax.models import vae as vae_recipe
from dgm_jax.models.latent import terms
from dgm_jax.networks import (
    AdditiveNoiseEncoder,
    NoiseEncoder,
    ResidualCritic,
    from_flax,
    in_precision,
)
from dgm_jax.run import Inputs, optimizer_of
from dgm_jax.run.settings import SettingsView

__all__ = ["build", "load", "model", "plots", "resolve", "validate"]

MODELS = ("vae", "avb", "avb_adaptive_contrast")
NUM_MOMENTS = 64  # posterior draws behind the Gaussian from which annealing starts
NUM_BOUND = 16  # draws of the adversarial bound for each image
NUM_BASES = 8


def validate(config: Config) -> None:
    """Check names and ranges, before anything is loaded.

    Args:
        config: the settings.

    Raises:
        ConfigError: for settings that no run could use.
    """
    study.validate(config)
    for name in config.model:
        lookup(MODELS, name, "model")
    require_at_least(1, config, "noise_size", "num_critic_updates", "ais_steps", "num_chains")
    require_at_most(10_000, config, "num_critic_updates")
    require_at_most(1_000_000, config, "ais_steps")
    require_positive(config, "critic_rate")
    require(
        config.network == "dense" or config.model == ("vae",),
        "implicit encoders are dense, so for a fair comparison all are; got"
        f" network={config.network!r}",
    )
    require_at_least(2, config, "num_ais")
    require(
        config.noise_size % NUM_BASES == 0,
        f"noise_size must be a multiple of {NUM_BASES}, got {config.noise_size}",
    )


def load(settings: SettingsView, needed: tuple[pathlib.Path | None, ...]) -> Inputs:
    """Load binarized images.

    Args:
        settings: the settings that concern the data.
        needed: folders of the runs of `needs`.

    Returns:
        Arrays, identity and context of the run.
    """
    return study.inputs_of(settings, "num_ais")


def _recipe(config: Config, dataset: dict[str, Any]) -> Vae | AdversarialVae:
    name = config.model[0]
    if name == "vae":
        return study.recipe(config, dataset, config.latent_size)
    return _adversarial(config, tuple(dataset["shape"]), name == "avb_adaptive_contrast")


def model(config: Config, hyper: dict[str, Any], dataset: dict[str, Any]) -> Model:
    """Make the arm's model.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        dataset: recorded identity of the data.

    Returns:
        The model.
    """
    recipe = _recipe(config, dataset)
    shape = tuple(dataset["shape"])
    beta = study.linear_warm_up(config)
    if isinstance(recipe, Vae):
        return vae_recipe(recipe, shape, beta=beta)
    return avb_recipe(recipe, shape, num_critic_updates=config.num_critic_updates, beta=beta)


def build(config: Config, hyper: dict[str, Any], inputs: Inputs) -> Task:
    """Make one seed of one model.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        inputs: arrays, identity and context of the run.

    Returns:
        The task of one seed.
    """
    recipe = _recipe(config, inputs.identity)
    game = model(config, hyper, inputs.identity)
    own = functools.partial(optimizer_of, config, hyper, schedule="cosine", b1=0.5)
    optimizers = {"vae": own(hyper["learning_rate"])}
    coupling = None
    if isinstance(recipe, AdversarialVae):
        optimizers["critic"] = own(hyper["critic_rate"], num_updates=config.num_critic_updates)
        coupling = AVB_BATCH_COUPLING if recipe.adaptive_contrast else None
    algorithm = functools.partial(training.alternating, game.players, optimizers)
    bound = terms if isinstance(recipe, Vae) else adversarial_terms

    def evaluate(train_state, arrays, key):
        params = train_state.params
        state = train_state.state
        x = data.to_model_range(arrays["test"]["image"][:1000], "unit")
        elbo_terms = bound(key, recipe, params, state, x)
        return {
            "claimed_elbo": jnp.mean(elbo_terms.elbo),
            "test_kl": jnp.mean(elbo_terms.kl),
            "images": game.sample(params, state, jax.random.fold_in(key, 1), binary_images.SHOWN),
        }

    draw = binary_images.draw_with_step(inputs, config.batch_size)
    evaluate_final = functools.partial(_evaluate_final, config, recipe, bound)
    return Task(game.init, draw, algorithm, evaluate, coupling, evaluate_final)


def _adversarial(config: Config, shape: tuple[int, ...], adaptive_contrast: bool) -> AdversarialVae:
    if adaptive_contrast:
        encoder = AdditiveNoiseEncoder(config.hidden, config.latent_size, NUM_BASES)
    else:
        encoder = NoiseEncoder((*config.hidden, config.latent_size))
    _, decoder = study.networks_of(config, shape, config.latent_size)
    prior = priors.standard_normal(config.latent_size)
    return AdversarialVae(
        in_precision(from_flax(encoder), config.precision),
        decoder,
        in_precision(from_flax(ResidualCritic(256, 3)), config.precision),
        prior,
        config.latent_size,
        config.noise_size,
        adaptive_contrast,
    )


def _evaluate_final(
    config, recipe, bound, train_state: TrainState, arrays: dict[str, Any], key: Key
) -> Metrics:
    """Compare the claimed bound with annealed importance sampling on the same test images."""
    params = train_state.params
    state = train_state.state
    key_bound, key_ais = jax.random.split(key)
    x = data.to_model_range(arrays["test"]["image"][: config.num_ais], "unit")

    def elbo(draw: Array) -> Array:
        key = jax.random.fold_in(key_bound, draw)
        return bound(key, recipe, params, state, x).elbo

    claimed = jnp.mean(jax.lax.map(elbo, jnp.arange(NUM_BOUND)), axis=0)
    settings = likelihood.Settings(num_steps=config.ais_steps, num_chains=config.num_chains)
    estimate = _annealed(key_ais, settings, recipe, params, state, x)
    alarm = likelihood.overstated(claimed, estimate)
    mean = jnp.mean(estimate.log_prob)
    return {
        "adversarial_bound": jnp.mean(claimed),
        "annealed_log_prob": mean,
        "annealed_error": likelihood.average(estimate).monte_carlo_error,
        "annealed_sample_size": jnp.mean(estimate.effective_sample_size),
        "gap": mean - jnp.mean(claimed),
        "alarm": alarm.flag.astype(jnp.float32),
    }


def _annealed(
    key: Key,
    settings: likelihood.Settings,
    recipe: Vae | AdversarialVae,
    params: Params,
    state: State,
    x: Array,
) -> likelihood.LogProbEstimate:
    """Anneal from the Gaussian with q(z | x)'s moments, those of 64 draws if q is implicit."""
    gaussian = None
    if isinstance(recipe, AdversarialVae):
        key_moments = jax.random.fold_in(key, 1)
        gaussian = posteriors.moments(key_moments, recipe, params, state, x, NUM_MOMENTS)
    start = posteriors.annealing_start(recipe, params, state, x, gaussian)
    return study.annealed(key, settings, start)
