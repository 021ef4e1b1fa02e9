"""A VAE at one latent size, and its average KL taken apart over the training set."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax

from dgm_jax import data, plotting, priors, sampling, training
from dgm_jax.core import Model, Task, chunked, require
from dgm_jax.densities import gaussian
from dgm_jax.experiments._shared import binary_images
from dgm_jax.experiments._shared.available import resolve as resolve
from dgm_jax.experiments._shared.vae import task as study
from dgm_jax.experiments.elbo_surgery import Config
from dgm_jax.models import posteriors, vae
from dgm_jax.models.latent import log_prior, terms
from dgm_jax.objectives import elbo_surgery
from dgm_jax.run import Inputs

SHOWN = 2_000  # codes in the figure


def validate(config: Config) -> None:
    """Names and ranges, before anything is loaded."""
    require(
        config.latent_size == 0, f"the arms set latent_size: give --latent {config.latent_size}"
    )
    study.validate(dataclasses.replace(config, latent_size=config.latent[0]))
    require(
        config.num_surgery == 0 or config.num_surgery >= 2,
        f"num_surgery must be 0 or >= 2, got {config.num_surgery}",
    )


def load(settings, needed) -> Inputs:
    """Binarised images."""
    return study.inputs_of(settings, "num_surgery")


def model(config: Config, hyper, dataset) -> Model:
    """The VAE with the arm's number of latents."""
    recipe = study.recipe(config, dataset, config.latent[0])
    return vae(recipe, tuple(dataset["shape"]), beta=study.linear_warm_up(config))


def build(config: Config, hyper, inputs: Inputs) -> Task:
    """One seed at one latent size: a VAE under N(0, I), taken apart at the end."""
    recipe = study.recipe(config, inputs.identity, config.latent[0])
    game = model(config, hyper, inputs.identity)
    rate = training.learning_rate("cosine", hyper["learning_rate"], config.num_steps)
    algorithm = functools.partial(training.alternating, game.players, {"vae": optax.adam(rate)})
    draw = binary_images.draw_with_step(inputs, config.batch_size)
    conclude = functools.partial(_conclude, config, recipe)
    return Task(game.init, draw, algorithm, functools.partial(_evaluate, recipe), conclude=conclude)


def _evaluate(recipe, train_state, arrays, key):
    """One draw of the bound for every test image."""
    x = data.to_model_range(arrays["test"]["image"], "unit")
    found = terms(key, recipe, train_state.params, train_state.state, x)
    return {"test_elbo": jnp.mean(found.elbo), "test_kl": jnp.mean(found.kl)}


def _conclude(config, recipe, train_state, arrays, key):
    """Surgery over the training set, and q(z) as the prior of train and test images."""
    params, state = train_state.params, train_state.state
    key_train, key_test = jax.random.split(key)
    images = binary_images.training_images(arrays)[: config.num_surgery or None]

    def log_p(z):
        return log_prior(recipe, params, state, z)

    q = study.posteriors(recipe, params, state, images)
    loc, scale = q
    z = sampling.gaussian(key_train, loc, scale)
    found = posteriors.surgery(recipe, params, state, q, z)
    test_z = sampling.gaussian(
        key_test, *study.posteriors(recipe, params, state, arrays["test"]["image"])
    )
    aggregate = priors.aggregated_posterior(loc, scale)
    log_aggregate = chunked(
        lambda z: aggregate.log_prob({"loc": loc, "scale": scale}, z), test_z, 256
    )
    bound = elbo_surgery.mutual_information_bound(len(images))
    analytic = jnp.sum(gaussian.kl(loc, scale, 0.0, 1.0), axis=-1)
    return {
        "average_kl": found.average_kl.mean,
        "analytic_kl": jnp.mean(analytic),
        "mutual_information": found.mutual_information.mean,
        "information_over_log_n": found.mutual_information.mean / bound,
        "marginal_kl": found.marginal_kl.mean,
        "identity_error": jnp.abs(
            found.average_kl.mean - found.mutual_information.mean - found.marginal_kl.mean
        ),
        "train_gain": found.marginal_kl.mean,
        "test_gain": jnp.mean(log_aggregate - log_p(test_z)),
        "active_units": elbo_surgery.active_units(loc).count.astype(jnp.float32),
        "codes": z[:SHOWN, :2],
    }


def figures(results, inputs: Inputs) -> dict:
    """Codes of training images in the first two dimensions, a panel a seed."""
    return {
        f"codes_{result.name}": (
            plotting.scatter_samples(result.arrays["codes"], title=f"{result.name} latents"),
            f"Draws of q(z) in two of {result.name} latents; the prior is N(0, I).",
        )
        for result in results
    }
