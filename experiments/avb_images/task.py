"""AVB and a VAE on binarised images, and their bounds against annealing."""

import functools

import jax
import jax.numpy as jnp
import optax

from dgm_jax import data, likelihood, priors, training
from dgm_jax.core import (
    Model,
    Task,
    lookup,
    require,
    require_at_least,
    require_at_most,
    require_positive,
)
from dgm_jax.experiments._shared import binary_images
from dgm_jax.experiments._shared.available import resolve
from dgm_jax.experiments._shared.binary_images import figures
from dgm_jax.experiments._shared.vae import task as study
from dgm_jax.experiments.avb_images import Config
from dgm_jax.models import AVB_BATCH_COUPLING, AdversarialVae, Vae, posteriors
from dgm_jax.models import adversarial_variational_bayes as avb_recipe
from dgm_jax.models import avb_terms as adversarial_terms
from dgm_jax.models import vae as vae_recipe
from dgm_jax.models.latent import terms
from dgm_jax.networks import AdditiveNoiseEncoder, NoiseEncoder, ResidualCritic, from_flax
from dgm_jax.run import Inputs

__all__ = ["build", "figures", "load", "model", "resolve", "validate"]

MODELS = ("vae", "avb", "avb_adaptive_contrast")
NUM_MOMENTS = 64  # posterior draws behind the Gaussian from which annealing starts
NUM_BOUND = 16  # draws of the adversarial bound for each image
NUM_BASES = 8


def validate(config: Config) -> None:
    """Names and ranges, before anything is loaded."""
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


def load(settings, needed) -> Inputs:
    """Binarised images."""
    return study.inputs_of(settings, "num_ais")


def _recipe(config: Config, dataset) -> Vae | AdversarialVae:
    name = config.model[0]
    if name == "vae":
        return study.recipe(config, dataset, config.latent_size)
    return _adversarial(config, tuple(dataset["shape"]), name == "avb_adaptive_contrast")


def model(config: Config, hyper, dataset) -> Model:
    """The arm's model."""
    recipe, shape = _recipe(config, dataset), tuple(dataset["shape"])
    beta = study.linear_warm_up(config)
    if isinstance(recipe, Vae):
        return vae_recipe(recipe, shape, beta=beta)
    return avb_recipe(recipe, shape, num_critic_updates=config.num_critic_updates, beta=beta)


def build(config: Config, hyper, inputs: Inputs) -> Task:
    """One seed of one model."""
    recipe, game = _recipe(config, inputs.identity), model(config, hyper, inputs.identity)
    rate = functools.partial(training.learning_rate, "cosine")
    optimizers = {"vae": optax.adam(rate(hyper["learning_rate"], config.num_steps), b1=0.5)}
    coupling = None
    if isinstance(recipe, AdversarialVae):
        # A schedule counts a player's own updates.
        critic_rate = rate(hyper["critic_rate"], config.num_steps * config.num_critic_updates)
        optimizers["critic"] = optax.adam(critic_rate, b1=0.5)
        coupling = AVB_BATCH_COUPLING if recipe.adaptive_contrast else None
    algorithm = functools.partial(training.alternating, game.players, optimizers)
    bound = terms if isinstance(recipe, Vae) else adversarial_terms

    def evaluate(train_state, arrays, key):
        params, state = train_state.params, train_state.state
        x = data.to_model_range(arrays["test"]["image"][:1000], "unit")
        found = bound(key, recipe, params, state, x)
        return {
            "claimed_elbo": jnp.mean(found.elbo),
            "test_kl": jnp.mean(found.kl),
            "images": game.sample(params, state, jax.random.fold_in(key, 1), binary_images.SHOWN),
        }

    draw = binary_images.draw_with_step(inputs, config.batch_size)
    conclude = functools.partial(_conclude, config, recipe, bound)
    return Task(game.init, draw, algorithm, evaluate, coupling, conclude)


def _adversarial(config: Config, shape, adaptive_contrast: bool) -> AdversarialVae:
    if adaptive_contrast:
        encoder = AdditiveNoiseEncoder(config.hidden, config.latent_size, NUM_BASES)
    else:
        encoder = NoiseEncoder((*config.hidden, config.latent_size))
    _, decoder = study.networks_of(config, shape, config.latent_size)
    prior = priors.standard_normal(config.latent_size)
    return AdversarialVae(
        from_flax(encoder),
        decoder,
        from_flax(ResidualCritic(256, 3)),
        prior,
        config.latent_size,
        config.noise_size,
        adaptive_contrast,
    )


def _conclude(config, recipe, bound, train_state, arrays, key):
    """The claimed bound against annealed importance sampling, on the same test images."""
    params, state = train_state.params, train_state.state
    key_bound, key_ais = jax.random.split(key)
    x = data.to_model_range(arrays["test"]["image"][: config.num_ais], "unit")
    draws = [
        bound(jax.random.fold_in(key_bound, i), recipe, params, state, x).elbo
        for i in range(NUM_BOUND)
    ]
    claimed = jnp.mean(jnp.stack(draws), axis=0)
    settings = likelihood.Settings(num_steps=config.ais_steps, num_chains=config.num_chains)
    found = _annealed(key_ais, settings, recipe, params, state, x)
    alarm = likelihood.overstated(claimed, found)
    mean = jnp.mean(found.log_prob)
    return {
        "adversarial_bound": jnp.mean(claimed),
        "annealed_log_prob": mean,
        "annealed_error": likelihood.average(found).monte_carlo_error,
        "annealed_sample_size": jnp.mean(found.effective_sample_size),
        "gap": mean - jnp.mean(claimed),
        "alarm": alarm.flag.astype(jnp.float32),
    }


def _annealed(key, settings, recipe, params, state, x):
    """From the Gaussian with the moments of q(z | x), those of 64 draws where it is implicit."""
    gaussian = None
    if isinstance(recipe, AdversarialVae):
        key_moments = jax.random.fold_in(key, 1)
        gaussian = posteriors.moments(key_moments, recipe, params, state, x, NUM_MOMENTS)
    start = posteriors.annealing_start(recipe, params, state, x, gaussian)
    return study.annealed(key, settings, start)
