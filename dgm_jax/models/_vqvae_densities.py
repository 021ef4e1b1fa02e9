"""The networks of a VQ-VAE, its codes and its densities, in the inference form."""

import math
from typing import NamedTuple

import jax.numpy as jnp

from dgm_jax.core import Array, Network, Params, Prior, Quantized, Quantizer, State
from dgm_jax.densities import discretized_logistic
from dgm_jax.models.likelihoods import pixel_total
from dgm_jax.objectives import vqvae as objective

ENCODER = "encoder"
DECODER = "decoder"
CODEBOOK = "codebook"
PRIOR = "prior"
LEVELS = 256  # of a pixel
# Smallest log-scale of the decoder's logistic density: a seventh of a pixel level, below which the
# likelihood hardly changes.
LOG_SCALE_FLOOR = -7.0


class VqVae(NamedTuple):
    """The networks, quantizer and prior of one model.

    Attributes:
        encoder: `x [B, H, W, C] -> z [B, h, w, D]`, D the width of the quantizer.
        decoder: `[B, h, w, D] -> [B, H, W, 2 C]`, locations and log-scales.
        grid: (h, w).
        quantizer: `z -> codes`.
        prior: over codes int[*B, *code_grid]; None for the uniform prior only.
        commitment_weight: beta, of the term that pulls the encoder's outputs to their codes.
    """

    encoder: Network
    decoder: Network
    grid: tuple[int, int]
    quantizer: Quantizer
    prior: Prior | None = None
    commitment_weight: float = 0.25

    @property
    def code_grid(self) -> tuple[int, ...]:
        """The shape of an image's codes: (h, w), or (h, w, L) with L codes at each place."""
        return (*self.grid, *self.quantizer.code_shape)


def vqvae_encode(vae: VqVae, params: Params, state: State, x: Array) -> tuple[Array, Quantized]:
    """Encode and quantize images, in the inference form.

    Args:
        vae: networks and quantizer.
        params: of the model, by part.
        state: of the model, by part.
        x: images [B, H, W, C] in [-1, 1].

    Returns:
        (z [B, h, w, D], its quantization).
    """
    z, _ = vae.encoder.apply(params[ENCODER], state[ENCODER], x, train=False)
    quantized = vae.quantizer.quantize(params[CODEBOOK], state[CODEBOOK], z)
    return z, quantized


def vqvae_codes(vae: VqVae, params: Params, state: State, x: Array) -> Array:
    """Compute the codes of images.

    Args:
        vae: networks and quantizer.
        params: of the model, by part.
        state: of the model, by part.
        x: images [B, H, W, C] in [-1, 1].

    Returns:
        int32[B, *code_grid].
    """
    _, quantized = vqvae_encode(vae, params, state, x)
    return quantized.codes


def vqvae_decode(vae: VqVae, params: Params, state: State, quantized: Array) -> Array:
    """Decode quantized vectors to images.

    Args:
        vae: networks and quantizer.
        params: of the model, by part.
        state: of the model, by part.
        quantized: [B, h, w, D].

    Returns:
        Images [B, H, W, C]: the locations, clipped to [-1, 1].
    """
    output = _decode(vae, params, state, quantized)
    loc, _ = _pixels(output)
    return jnp.clip(loc, -1, 1)


def vqvae_log_likelihood(
    vae: VqVae, params: Params, state: State, quantized: Array, x: Array
) -> Array:
    """Evaluate log p(x | e), a discretized logistic density of 256 levels per pixel.

    Args:
        vae: networks and quantizer.
        params: of the model, by part.
        state: of the model, by part.
        quantized: e [B, h, w, D].
        x: images [B, H, W, C] in [-1, 1].

    Returns:
        [B] in nats, summed over pixels.
    """
    output = _decode(vae, params, state, quantized)
    return log_likelihood_of(output, x)


def vqvae_log_prior(vae: VqVae, params: Params, codes: Array) -> Array:
    """Evaluate log p(c) under the trained prior, or under the uniform one if there is none.

    Args:
        vae: networks, quantizer and prior.
        params: of the model, by part.
        codes: int[B, *code_grid].

    Returns:
        [B] in nats.
    """
    if vae.prior is None:
        batch_size = codes.shape[0]
        return jnp.full(batch_size, vqvae_uniform_log_prior(vae))
    return vae.prior.log_prob(params[PRIOR], codes)


def vqvae_uniform_log_prior(vae: VqVae) -> float:
    """Compute log p(c) of an image's codes under the uniform prior.

    Args:
        vae: quantizer and grid.

    Returns:
        The value in nats, the same for all codes.
    """
    num_per_image = math.prod(vae.code_grid)
    return objective.uniform_log_prior(num_per_image, vae.quantizer.num_codes)


def _decode(vae: VqVae, params: Params, state: State, quantized: Array) -> Array:
    """The decoder's output [B, H, W, 2 C], in its inference form."""
    output, _ = vae.decoder.apply(params[DECODER], state[DECODER], quantized, train=False)
    return output


def _pixels(output: Array) -> tuple[Array, Array]:
    """Location and log-scale [B, H, W, C] of each pixel, from the decoder's output."""
    loc, log_scale = jnp.split(output, 2, axis=-1)
    return loc, jnp.maximum(log_scale, LOG_SCALE_FLOOR)


def log_likelihood_of(output: Array, x: Array) -> Array:
    """Evaluate log p(x | e) from the decoder's output.

    Args:
        output: [B, H, W, 2 C], locations and log-scales.
        x: images [B, H, W, C] in [-1, 1].

    Returns:
        [B] in nats, summed over pixels.
    """
    loc, log_scale = _pixels(output)
    scaled = (x + 1) * ((LEVELS - 1) / 2)
    levels = jnp.round(scaled).astype(jnp.int32)
    log_probs = discretized_logistic.log_prob(levels, loc, log_scale, LEVELS)
    return pixel_total(log_probs)
