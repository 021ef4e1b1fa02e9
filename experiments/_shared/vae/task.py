"""VAEs with Gaussian posteriors on binarised images: networks, priors, posteriors, surgery and
annealing of `vae_priors`, `elbo_surgery` and `avb_images`."""

import functools
import math
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import data, likelihood, priors
from dgm_jax.core import (
    Array,
    Key,
    Network,
    Prior,
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
from dgm_jax.networks import MLP, ConvolutionalDecoder, ConvolutionalEncoder, from_flax, reshaped
from dgm_jax.objectives import elbo_surgery
from dgm_jax.objectives.elbo import warm_up
from dgm_jax.run import Inputs


def validate(config: VaeConfig) -> None:
    """Names and ranges, before anything is loaded."""
    lookup(NETWORKS, config.network, "network")
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


def inputs_of(settings, *counts: str) -> Inputs:
    """Binarised images, 0 or 1.

    Args:
        settings: what `load` is given.
        counts: names of settings that say how many images of a split are evaluated.

    Raises:
        ConfigError: one of them asks for more than there are.
    """
    splits = {"num_eval": "test", "num_ais": "test", "num_surgery": "train"}
    asked = {name: (splits[name], getattr(settings, name)) for name in counts}
    return binary_images.load(settings.data, settings.binarization, asked)


def _dense(config: VaeConfig, shape, latent_size: int) -> tuple[Network, Network]:
    encoder = MLP((*config.hidden, 2 * latent_size), "relu", "glorot")
    decoder = MLP((*reversed(config.hidden), math.prod(shape)), "relu", "glorot")
    return reshaped(from_flax(encoder), (2 * latent_size,)), reshaped(from_flax(decoder), shape)


def _convolutional(config: VaeConfig, shape, latent_size: int) -> tuple[Network, Network]:
    return from_flax(ConvolutionalEncoder(2 * latent_size)), from_flax(ConvolutionalDecoder(shape))


NETWORKS = {"dense": _dense, "convolutional": _convolutional}


def networks_of(
    config: VaeConfig, shape: tuple[int, int, int], latent_size: int
) -> tuple[Network, Network]:
    """(encoder to 2 D numbers, decoder to logits of pixels) of the settings, for D latents."""
    return NETWORKS[config.network](config, shape, latent_size)


def _random_images(images: np.ndarray, num: int):
    """`key -> [num, H, W, C]` training images in [0, 1], where the pseudo-inputs of a VampPrior
    start."""

    def draw(key: Key):
        which = jax.random.randint(key, (num,), 0, len(images))
        return data.to_model_range(jnp.asarray(images)[which], "unit")

    return draw


def validate_prior(name: str) -> None:
    """ConfigError for a prior that this study cannot build."""
    lookup((*priors.FROM_DIM, "vamp"), name, "prior")


def prior_named(name: str, dim: int, shape, num_components: int, images=None):
    """`encode -> Prior` over `dim` latents by its name, as `models.Vae` wants it. The pseudo-inputs
    of a VampPrior have that shape, and start from some of the images."""
    if name == "vamp":
        start = None if images is None else _random_images(images, num_components)
        return lambda encode: priors.vamp(encode, num_components, shape, init=start)
    validate_prior(name)
    options = {"num_components": num_components} if name == "mixture" else {}
    prior = cast(Prior, priors.PRIORS[name](dim, **options))  # those of FROM_DIM are
    return lambda encode: prior


def recipe(
    config: VaeConfig,
    dataset,
    latent_size: int,
    prior: str = "standard_normal",
    num_components: int = 1,
    images=None,
) -> Vae:
    """Networks and prior of the settings, for so many latents.

    Args:
        dataset: the identity of the data.
        images: training images uint8 [N, H, W, C], where a VampPrior starts; parameters of a model
            that is loaded come from elsewhere.
    """
    shape = tuple(dataset["shape"])
    encoder, decoder = networks_of(config, shape, latent_size)
    named = prior_named(prior, latent_size, shape, num_components, images)
    return Vae(encoder, decoder, latent_size, named)


def linear_warm_up(config: VaeConfig):
    """`step -> beta` of the settings."""
    num_steps = int(config.warm_up_share * config.num_steps)
    if num_steps == 0:
        return lambda step: 1.0
    return functools.partial(warm_up, num_steps=num_steps, shape="linear")


def posteriors(vae: Vae, params, state, images: Array) -> Gaussian:
    """q(z | x), [N, D], for images [N, H, W, C] (uint8), a thousand at a time."""
    return chunked(
        lambda rows: posterior(vae, params, state, data.to_model_range(rows, "unit")), images, 1_000
    )


def surgery(key: Key, vae: Vae, params, state, images: Array) -> dict[str, Array]:
    """Terms of the average KL over images [N, H, W, C] (uint8): one draw of z each, all N
    posteriors in q(z). Nats."""
    q = posteriors(vae, params, state, images)
    found = decompose(vae, params, state, q, sample_gaussian(key, q))
    return {
        "average_kl": found.average_kl.mean,
        "mutual_information": found.mutual_information.mean,
        "marginal_kl": found.marginal_kl.mean,
        "active_units": elbo_surgery.active_units(q.loc).count.astype(jnp.float32),
    }


def annealed(
    key: Key, settings: likelihood.Settings, start: AnnealingStart
) -> likelihood.LogProbEstimate:
    """log p(x) by annealed importance sampling from an approximate posterior."""
    path = likelihood.from_proposal(start.sample, start.log_prob, start.log_joint)
    return likelihood.annealed_importance_sampling(key, path, start.rows, settings, batch_size=25)
