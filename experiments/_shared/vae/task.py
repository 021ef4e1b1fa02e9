"""VAEs with Gaussian posteriors on binarized images: parts that several experiments share.

Networks, priors, posteriors, surgery and annealing of `vae_priors`, `elbo_surgery` and
`avb_images`.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import data, likelihood, priors
from dgm_jax.core import (
    Array,
    Key,
    Network,
    Params,
    Prior,
    State,
    chunked,
    lookup,
    require,
    require_at_least,
    require_positive,
)
from dgm_jax.experiments._shared import binary_images
from dgm_jax.experiments._shared.vae import VaeConfig
from dgm_jax.models import Vae
from dgm_jax.models.latent import posterior
from dgm_jax.models.posteriors import AnnealingStart, Gaussian, sample_gaussian
from dgm_jax.models.posteriors import surgery as decompose
from dgm_jax.networks import (
    MLP,
    PRECISIONS,
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    from_flax,
    in_precision,
    reshaped,
)
from dgm_jax.objectives import elbo_surgery
from dgm_jax.objectives.elbo import warm_up
from dgm_jax.run import Inputs
from dgm_jax.run.settings import SettingsView


def validate(config: VaeConfig) -> None:
    """Check names and ranges, before anything is loaded.

    Args:
        config: the settings.

    Raises:
        ConfigError: for settings that no run could use.
    """
    lookup(NETWORKS, config.network, "network")
    lookup(PRECISIONS, config.precision, "precision")
    require_at_least(1, config, "batch_size", "latent_size")
    require_positive(config, "learning_rate")
    require(
        0 <= config.warm_up_share <= 1,
        f"warm_up_share must be in [0, 1], got {config.warm_up_share}",
    )
    require(
        min(config.hidden, default=1) >= 1,
        f"hidden must be widths of at least 1, got {config.hidden}",
    )
    names = {name: name for name in ("static", "dynamic", "threshold")}
    lookup(names, config.binarization, "binarization")


def inputs_of(settings: SettingsView, *counts: str) -> Inputs:
    """Load binarized images, with pixels 0 or 1.

    Args:
        settings: the settings that `load` is given.
        *counts: names of settings that are numbers of evaluated images.

    Returns:
        As `binary_images.load`.

    Raises:
        ConfigError: if one of them is larger than its split.
    """
    splits = {"num_eval": "test", "num_ais": "test", "num_surgery": "train"}
    asked = {name: (splits[name], getattr(settings, name)) for name in counts}
    return binary_images.load(settings.data, settings.binarization, asked)


def _dense(config: VaeConfig, shape: tuple[int, ...], latent_size: int) -> tuple[Network, Network]:
    encoder = MLP((*config.hidden, 2 * latent_size), "relu", "glorot")
    decoder = MLP((*reversed(config.hidden), math.prod(shape)), "relu", "glorot")
    outputs = (2 * latent_size,)
    return reshaped(from_flax(encoder), outputs), reshaped(from_flax(decoder), shape)


def _convolutional(
    config: VaeConfig, shape: tuple[int, ...], latent_size: int
) -> tuple[Network, Network]:
    return from_flax(ConvolutionalEncoder(2 * latent_size)), from_flax(ConvolutionalDecoder(shape))


NETWORKS = {"dense": _dense, "convolutional": _convolutional}


def networks_of(
    config: VaeConfig, shape: tuple[int, int, int], latent_size: int
) -> tuple[Network, Network]:
    """Make encoder and decoder of the settings.

    Args:
        config: the settings.
        shape: (H, W, C) of an image.
        latent_size: D.

    Returns:
        The encoder, to 2 D numbers, and the decoder, to logits of pixels.
    """
    encoder, decoder = NETWORKS[config.network](config, shape, latent_size)
    return in_precision(encoder, config.precision), in_precision(decoder, config.precision)


def _random_images(images: np.ndarray, num: int) -> Callable[[Key], Array]:
    """`key -> [num, H, W, C]`: training images in [0, 1], where pseudo-inputs start."""

    def draw(key: Key) -> Array:
        which = jax.random.randint(key, (num,), 0, len(images))
        return data.to_model_range(jnp.asarray(images)[which], "unit")

    return draw


def validate_prior(name: str) -> None:
    """Check the name of a prior.

    Args:
        name: the name.

    Raises:
        ConfigError: for a prior that this study cannot build.
    """
    lookup((*priors.FROM_DIM, "vamp"), name, "prior")


def prior_named(
    name: str,
    dim: int,
    shape: tuple[int, ...],
    num_components: int,
    images: np.ndarray | None = None,
) -> Callable[[Any], Prior]:
    """Make a prior by its name, as `models.Vae` takes it.

    Args:
        name: of `priors.FROM_DIM`, or "vamp".
        dim: number of latents.
        shape: of the pseudo-inputs of a VampPrior.
        num_components: of a mixture or a VampPrior.
        images: training images from which the pseudo-inputs start.

    Returns:
        `encode -> Prior`.

    Raises:
        ConfigError: for another name.
    """
    if name == "vamp":
        start = None if images is None else _random_images(images, num_components)
        return lambda encode: priors.vamp(encode, num_components, shape, init=start)
    validate_prior(name)
    options = {"num_components": num_components} if name == "mixture" else {}
    prior = cast(Prior, priors.PRIORS[name](dim, **options))  # those of FROM_DIM are priors
    return lambda encode: prior


def recipe(
    config: VaeConfig,
    dataset: dict[str, Any],
    latent_size: int,
    prior: str = "standard_normal",
    num_components: int = 1,
    images: np.ndarray | None = None,
) -> Vae:
    """Make networks and prior of the settings.

    Args:
        config: the settings.
        dataset: identity of the data.
        latent_size: number of latents.
        prior: name of the prior.
        num_components: of a mixture or a VampPrior.
        images: training images uint8[N, H, W, C] from which a VampPrior starts; not needed if the
            parameters are loaded.

    Returns:
        The recipe of the VAE.
    """
    shape = tuple(dataset["shape"])
    encoder, decoder = networks_of(config, shape, latent_size)
    named = prior_named(prior, latent_size, shape, num_components, images)
    return Vae(encoder, decoder, latent_size, named)


def linear_warm_up(config: VaeConfig) -> Callable[[Array], Array | float]:
    """Make the schedule of the factor on the KL.

    Args:
        config: the settings.

    Returns:
        `step -> beta`.
    """
    num_steps = int(config.warm_up_share * config.num_steps)
    if num_steps == 0:
        return lambda step: 1.0
    return functools.partial(warm_up, num_steps=num_steps, shape="linear")


def posteriors(vae: Vae, params: Params, state: State, images: Array) -> Gaussian:
    """Compute q(z | x) of many images, a thousand at a time.

    Args:
        vae: the recipe.
        params: parameters by part.
        state: model state by part.
        images: uint8[N, H, W, C].

    Returns:
        The Gaussians, [N, D].
    """

    def posterior_of(rows: Array) -> Gaussian:
        return posterior(vae, params, state, data.to_model_range(rows, "unit"))

    return chunked(posterior_of, images, 1_000)


def surgery(key: Key, vae: Vae, params: Params, state: State, images: Array) -> dict[str, Array]:
    """Decompose the average KL over images: one draw of z for each, all N posteriors in q(z).

    Args:
        key: random key of the draws.
        vae: the recipe.
        params: parameters by part.
        state: model state by part.
        images: uint8[N, H, W, C].

    Returns:
        The terms by name, in nats, and the number of active units.
    """
    q = posteriors(vae, params, state, images)
    terms = decompose(vae, params, state, q, sample_gaussian(key, q))
    return {
        "average_kl": terms.average_kl.mean,
        "mutual_information": terms.mutual_information.mean,
        "marginal_kl": terms.marginal_kl.mean,
        "active_units": elbo_surgery.active_units(q.loc).count.astype(jnp.float32),
    }


def annealed(
    key: Key, settings: likelihood.Settings, start: AnnealingStart
) -> likelihood.LogProbEstimate:
    """Estimate log p(x) by annealed importance sampling from an approximate posterior.

    Args:
        key: random key.
        settings: of the annealing.
        start: the posterior from which it starts.

    Returns:
        The estimate for each image, in nats.
    """
    path = likelihood.from_proposal(start.sample, start.log_prob, start.log_joint)
    return likelihood.annealed_importance_sampling(key, path, start.rows, settings, batch_size=25)
