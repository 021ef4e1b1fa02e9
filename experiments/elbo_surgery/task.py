"""A VAE at one latent size, and the decomposition of its average KL over the training set."""

import dataclasses
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax import data, plotting, priors, sampling, training
from dgm_jax.core import Key, Metrics, Model, Task, TrainState, require
from dgm_jax.densities import gaussian
from dgm_jax.experiments._shared import binary_images
from dgm_jax.experiments._shared.available import resolve as resolve
from dgm_jax.experiments._shared.vae import task as study
from dgm_jax.experiments.elbo_surgery import Config
from dgm_jax.models import posteriors, vae
from dgm_jax.models.latent import log_prior, terms
from dgm_jax.objectives import elbo_surgery
from dgm_jax.run import ArmResult, Inputs, optimizer_of
from dgm_jax.run.settings import SettingsView

SHOWN = 2_000  # codes in the plot


def validate(config: Config) -> None:
    """Check names and ranges, before anything is loaded.

    Args:
        config: the settings.

    Raises:
        ConfigError: for settings that no run could use.
    """
    require(
        config.latent_size == 0, f"the arms set latent_size: give --latent {config.latent_size}"
    )
    study.validate(dataclasses.replace(config, latent_size=config.latent[0]))
    require(
        config.num_surgery == 0 or config.num_surgery >= 2,
        f"num_surgery must be 0 or >= 2, got {config.num_surgery}",
    )


def load(settings: SettingsView, needed: tuple[pathlib.Path | None, ...]) -> Inputs:
    """Load binarized images.

    Args:
        settings: the settings that concern the data.
        needed: folders of the runs of `needs`.

    Returns:
        Arrays, identity and context of the run.
    """
    return study.inputs_of(settings, "num_surgery")


def model(config: Config, hyper: dict[str, Any], dataset: dict[str, Any]) -> Model:
    """Make the VAE with the arm's number of latents.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        dataset: recorded identity of the data.

    Returns:
        The model.
    """
    recipe = study.recipe(config, dataset, config.latent[0])
    return vae(recipe, tuple(dataset["shape"]), beta=study.linear_warm_up(config))


def build(config: Config, hyper: dict[str, Any], inputs: Inputs) -> Task:
    """Make one seed at one latent size: a VAE under N(0, I), whose KL is decomposed at the end.

    Args:
        config: the settings.
        hyper: values of the sweepable settings.
        inputs: arrays, identity and context of the run.

    Returns:
        The task of one seed.
    """
    recipe = study.recipe(config, inputs.identity, config.latent[0])
    game = model(config, hyper, inputs.identity)
    optimizers = {"vae": optimizer_of(config, hyper, hyper["learning_rate"], schedule="cosine")}
    algorithm = functools.partial(training.alternating, game.players, optimizers)
    draw = binary_images.draw_with_step(inputs, config.batch_size)
    evaluate_final = functools.partial(_evaluate_final, config, recipe)
    evaluate = functools.partial(_evaluate, recipe)
    return Task(game.init, draw, algorithm, evaluate, evaluate_final=evaluate_final)


def _evaluate(recipe, train_state: TrainState, arrays: dict[str, Any], key: Key) -> Metrics:
    """One draw of the bound for every test image."""
    x = data.to_model_range(arrays["test"]["image"], "unit")
    elbo_terms = terms(key, recipe, train_state.params, train_state.state, x)
    return {"test_elbo": jnp.mean(elbo_terms.elbo), "test_kl": jnp.mean(elbo_terms.kl)}


def _evaluate_final(
    config, recipe, train_state: TrainState, arrays: dict[str, Any], key: Key
) -> Metrics:
    """Surgery over the training set, and the gain of q(z) as the prior."""
    params = train_state.params
    state = train_state.state
    key_train, key_test = jax.random.split(key)
    images = binary_images.training_images(arrays)[: config.num_surgery or None]

    def log_p(z):
        return log_prior(recipe, params, state, z)

    q = study.posteriors(recipe, params, state, images)
    loc, scale = q
    z = sampling.gaussian(key_train, loc, scale)
    decomposed = posteriors.surgery(recipe, params, state, q, z)
    test_z = sampling.gaussian(
        key_test, *study.posteriors(recipe, params, state, arrays["test"]["image"])
    )
    aggregate = priors.aggregated_posterior(loc, scale)
    log_aggregate = aggregate.log_prob({"loc": loc, "scale": scale}, test_z)
    bound = elbo_surgery.mutual_information_bound(len(images))
    analytic = jnp.sum(gaussian.kl(loc, scale, 0.0, 1.0), axis=-1)
    return {
        "average_kl": decomposed.average_kl.mean,
        "analytic_kl": jnp.mean(analytic),
        "mutual_information": decomposed.mutual_information.mean,
        "information_over_log_n": decomposed.mutual_information.mean / bound,
        "marginal_kl": decomposed.marginal_kl.mean,
        "identity_error": jnp.abs(
            decomposed.average_kl.mean
            - decomposed.mutual_information.mean
            - decomposed.marginal_kl.mean
        ),
        "train_gain": decomposed.marginal_kl.mean,
        "test_gain": jnp.mean(log_aggregate - log_p(test_z)),
        "active_units": elbo_surgery.active_units(loc).count.astype(jnp.float32),
        "codes": z[:SHOWN, :2],
    }


def plots(results: list[ArmResult], inputs: Inputs) -> dict[str, tuple[Any, str]]:
    """Plot codes of training images in the first two dimensions, a panel a seed.

    Args:
        results: the finished arms.
        inputs: arrays, identity and context of the run.

    Returns:
        {name: (plot, caption)}.
    """
    return {
        f"codes_{result.name}": (
            plotting.scatter_samples(result.arrays["codes"], title=f"{result.name} latents"),
            f"Draws of q(z) in two of {result.name} latents; the prior is N(0, I).",
        )
        for result in results
    }
