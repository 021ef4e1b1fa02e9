"""VQ-VAE (van den Oord et al. 2017): an autoencoder whose latents are a grid of codes, and a prior
over the codes.

    z = encoder(x),  c_i = nearest code of z_i,  log p(x) >= log p(x | e_c) + log p(c)

A game of up to two players. `autoencoder` owns encoder and decoder and minimises -log p(x | e_c)
plus the commitment term; the codebook follows the moving average of its vectors (or is a third
part, trained by the codebook term). `prior` owns the law of the codes and minimises -log p(c), with
the encoder as it is. Let both learning rates fall to zero together and the prior ends on settled
codes. A batch is `{"x": [B, H, W, C]}` with pixels in [-1, 1].
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax import core, quantization
from dgm_jax.core import Array, Aux, Key, Model, Network, Player, Prior, require
from dgm_jax.densities import discretized_logistic
from dgm_jax.models.stateless import require_stateless
from dgm_jax.objectives import vqvae as objective
from dgm_jax.quantization import Quantized, codebook_ema

ENCODER, DECODER, CODEBOOK, PRIOR = "encoder", "decoder", "codebook", "prior"
LEVELS = 256  # of a pixel
# of the decoder's logistic law: a seventh of a pixel level, below which nothing is gained
LOG_SCALE_FLOOR = -7.0


class VqVae(NamedTuple):
    """What the functions below need to know about one model; its networks have no state.

    encoder: `x [B, H, W, C] -> z [B, h, w, D]`. decoder: `[B, h, w, D] -> [B, H, W, 2 C]`,
        locations and log-scales.
    grid: (h, w). prior: of codes int[*B, h, w], or None for the uniform one alone.
    decay: of the codebook's moving average; None trains the codebook by the codebook term.
    threshold: codes with fewer vectors a batch, on average, are put on random vectors; 0 for never.
    gradient, cosine: as in `quantization.vector_quantize`.
    """

    encoder: Network
    decoder: Network
    grid: tuple[int, int]
    num_codes: int
    width: int
    prior: Prior | None = None
    decay: float | None = 0.99
    threshold: float = 0.05
    commitment_weight: float = 0.25
    gradient: str = "straight_through"
    cosine: bool = False


def codebook_of(vae: VqVae, params, state) -> Array:
    """[K, D], wherever it lives."""
    return params[CODEBOOK] if vae.decay is None else state[CODEBOOK].codebook


def encode(vae: VqVae, params, state, x: Array) -> tuple[Array, Quantized]:
    """z [B, h, w, D] of images, and what quantising it gives."""
    z, _ = vae.encoder.apply(params[ENCODER], state[ENCODER], x, train=False)
    book = codebook_of(vae, params, state)
    return z, quantization.vector_quantize(z, book, gradient=vae.gradient, cosine=vae.cosine)


def codes_of(vae: VqVae, params, state, x: Array) -> Array:
    """int32[B, h, w], with no gradient."""
    return encode(vae, params, state, x)[1].codes


def law_of(vae: VqVae, params, state, quantized: Array) -> tuple[Array, Array]:
    """Location and log-scale [B, H, W, C] of each pixel."""
    out, _ = vae.decoder.apply(params[DECODER], state[DECODER], quantized, train=False)
    loc, log_scale = jnp.split(out, 2, axis=-1)
    return loc, jnp.maximum(log_scale, LOG_SCALE_FLOOR)


def decoded(vae: VqVae, params, state, quantized: Array) -> Array:
    """Images in [-1, 1]: the locations, cut to the range of a pixel."""
    return jnp.clip(law_of(vae, params, state, quantized)[0], -1, 1)


def log_likelihood(vae: VqVae, params, state, quantized: Array, x: Array) -> Array:
    """log p(x | e): [B] in nats, the sum over pixels of a discretised logistic law of 256
    levels."""
    loc, log_scale = law_of(vae, params, state, quantized)
    levels = jnp.round((x + 1) * ((LEVELS - 1) / 2)).astype(jnp.int32)
    return jnp.sum(discretized_logistic.log_prob(levels, loc, log_scale, LEVELS), axis=(1, 2, 3))


def log_prior(vae: VqVae, params, codes: Array) -> Array:
    """log p(c) of codes [B, h, w]: [B], by the trained prior, or by the uniform one where there is
    none."""
    if vae.prior is None:
        return jnp.full(
            codes.shape[0], objective.uniform_log_prior(math.prod(vae.grid), vae.num_codes)
        )
    return vae.prior.log_prob(params[PRIOR], codes)


def vqvae(vae: VqVae, image_shape: tuple[int, int, int]) -> Model:
    """The model with its players.

    Metrics: `log_likelihood`, `commitment` (nats and squared units an image), `batch_perplexity`,
        `revived`; of the
    prior `prior_bits_per_code`.
    """
    sizes = (vae.num_codes, vae.width)
    require(min(sizes) >= 1, f"num_codes and width must be positive, got {sizes}")
    require(
        vae.threshold == 0 or vae.decay is not None,
        "revival (threshold > 0) needs a codebook of moving averages",
    )
    require(
        not (vae.cosine and vae.decay is not None),
        "cosine codes need a codebook trained by the codebook term "
        "(decay=None): their mean is not of unit norm",
    )

    def init(key):
        keys = jax.random.split(key, 4)
        params_e, state_e = vae.encoder.init(keys[0], jnp.zeros((2, *image_shape)))
        images = jnp.zeros((2, *image_shape))
        shape = jax.eval_shape(lambda: vae.encoder.apply(params_e, state_e, images, train=False)[0])
        expected = (2, *vae.grid, vae.width)
        require(
            shape.shape == expected,
            f"the encoder gives {shape.shape[1:]}, but grid and width say {expected[1:]}",
        )
        params_d, state_d = vae.decoder.init(keys[1], jnp.zeros(expected))
        require_stateless("a VQ-VAE", {ENCODER: state_e, DECODER: state_d})
        book = core.normal(keys[2], (vae.num_codes, vae.width))
        params = {ENCODER: params_e, DECODER: params_d}
        state = {ENCODER: state_e, DECODER: state_d}
        if vae.decay is None:
            params[CODEBOOK] = book
        else:
            # On the brink of revival: a code that the first batch does not use starts on a vector
            # of that batch.
            state[CODEBOOK] = codebook_ema.init(book, count=vae.threshold or 1.0)
        if vae.prior is not None:
            params[PRIOR] = vae.prior.init(keys[3])
        return params, state

    def sample(params, state, key, num_samples):
        key_codes, _ = jax.random.split(key)
        if vae.prior is None:
            codes = jax.random.randint(key_codes, (num_samples, *vae.grid), 0, vae.num_codes)
        else:
            codes = vae.prior.sample(params[PRIOR], key_codes, num_samples)
        return decode(params, state, codes)

    def decode(params, state, codes):
        book = codebook_of(vae, params, state)
        book = quantization.l2_normalize(book) if vae.cosine else book
        return decoded(vae, params, state, book[codes])

    parts = (ENCODER, DECODER, CODEBOOK)
    players = {"autoencoder": Player(parts, functools.partial(_autoencoder_loss, vae))}
    if vae.prior is not None:
        players[PRIOR] = Player((PRIOR,), functools.partial(_prior_loss, vae))
    return Model(init, players, sample, decode)


def _autoencoder_loss(vae: VqVae, params, state, batch, key: Key):
    z, found = encode(vae, params, state, batch["x"])
    likelihood = log_likelihood(vae, params, state, found.quantized, batch["x"])
    value = objective.loss(
        likelihood,
        found.codebook_loss,
        found.commitment_loss,
        commitment_weight=vae.commitment_weight,
        codebook_weight=1.0 if vae.decay is None else 0.0,
    )
    metrics = {
        "log_likelihood": jnp.mean(likelihood),
        "commitment": jnp.mean(jnp.sum(found.commitment_loss, axis=(1, 2))),
        "batch_perplexity": quantization.codebook_usage(found.codes, vae.num_codes).perplexity,
    }
    if vae.decay is not None:
        book = codebook_ema.update(state[CODEBOOK], z, found.codes, vae.decay)
        if vae.threshold > 0:
            metrics["revived"] = jnp.sum(book.counts < vae.threshold).astype(jnp.float32)
            book = codebook_ema.revive(key, book, z, vae.threshold)
        state = {**state, CODEBOOK: book}
    return value, Aux(state, metrics)


def _prior_loss(vae: VqVae, params, state, batch, key: Key):
    del key
    codes = jax.lax.stop_gradient(codes_of(vae, params, state, batch["x"]))
    nats = -jnp.mean(log_prior(vae, params, codes))
    return nats, Aux(state, {"prior_bits_per_code": nats / (math.prod(vae.grid) * math.log(2))})
