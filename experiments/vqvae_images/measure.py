"""Measures of a VQ-VAE and the prior over its codes, on test images."""

import functools
import math

import jax.numpy as jnp

from dgm_jax import data, likelihood, objectives, quantization
from dgm_jax.core import Array, Key, Metrics, Model, Params, State, TrainState, chunked
from dgm_jax.experiments.vqvae_images.plots import SHOWN
from dgm_jax.models import (
    VqVae,
    vqvae_decode,
    vqvae_encode,
    vqvae_log_likelihood,
    vqvae_log_prior,
    vqvae_uniform_log_prior,
)


def evaluate_images(
    vae: VqVae,
    game: Model,
    scaling: str,
    train_state: TrainState,
    images: Array,
    key: Key,
) -> Metrics:
    """Measure the bound and the codebook's usage on images.

    Args:
        vae: the recipe.
        game: the model.
        scaling: range of pixels that the model sees.
        train_state: the trained state.
        images: uint8[N, H, W, C].
        key: random key of the samples.

    Returns:
        Metrics by name, reconstructions and samples.
    """
    params = train_state.params
    state = train_state.state
    num_dimensions = math.prod(images.shape[1:])
    num_codes = math.prod(vae.code_grid)
    bits = functools.partial(likelihood.bits_per_dimension, num_dimensions=num_dimensions)

    def measure(rows: Array) -> tuple[Array, Array]:
        return measured(vae, params, state, data.to_model_range(rows, scaling))

    rows, codes = chunked(measure, images, 500)
    log_likelihood, log_prior, error = rows.T
    shown = data.to_model_range(images[:SHOWN], scaling)
    _, quantized = vqvae_encode(vae, params, state, shown)
    uniform_bound = jnp.mean(log_likelihood) + vqvae_uniform_log_prior(vae)
    return {
        "bits_per_dim": bits(-jnp.mean(objectives.vqvae.bound(log_likelihood, log_prior))),
        "uniform_bits_per_dim": bits(-uniform_bound),
        "decoder_bits_per_dim": bits(-jnp.mean(log_likelihood)),
        "prior_bits": -jnp.mean(log_prior) / (num_codes * math.log(2)),
        "squared_error": jnp.mean(error),
        **usage_of(vae, codes),
        "reconstructions": vqvae_decode(vae, params, state, quantized.quantized),
        "samples": game.sample(params, state, key, SHOWN),
    }


def measured(vae: VqVae, params: Params, state: State, x: Array) -> tuple[Array, Array]:
    """Measure images: both parts of the bound, the squared error, and the codes.

    Args:
        vae: the recipe.
        params: parameters by part.
        state: model state by part.
        x: [n, H, W, C].

    Returns:
        [n, 3]: log-likelihood and log-prior in nats, squared error; and the codes.
    """
    _, quantized = vqvae_encode(vae, params, state, x)
    likelihood = vqvae_log_likelihood(vae, params, state, quantized.quantized, x)
    decoded = vqvae_decode(vae, params, state, quantized.quantized)
    error = jnp.mean(jnp.square(decoded - x), axis=(1, 2, 3))
    prior = vqvae_log_prior(vae, params, quantized.codes)
    return jnp.stack([likelihood, prior, error], axis=1), quantized.codes


def usage_of(vae: VqVae, codes: Array) -> dict[str, Array]:
    """Compute the share of the codebook in use, and its perplexity.

    Args:
        vae: the recipe.
        codes: of many images.

    Returns:
        The measures; for a quantizer with levels their mean, and those of each level.
    """
    num_codes = vae.quantizer.num_codes
    shape = vae.quantizer.code_shape
    usage = quantization.codebook_usage(codes, num_codes, shape)
    measures = {"usage": usage.num_used / num_codes, "perplexity": usage.perplexity}
    if not shape:
        return measures
    return {name: jnp.mean(value) for name, value in measures.items()} | {
        f"{name}_{level}": value[level]
        for name, value in measures.items()
        for level in range(shape[0])
    }
