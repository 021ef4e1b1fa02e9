"""VQ-VAE (van den Oord et al. 2017): an autoencoder whose latents are a grid of codes, and a prior
over the codes.

    z = encoder(x),  (c, e_c) = quantizer(z),  log p(x) >= log p(x | e_c) + log p(c)

A game of up to two players. `autoencoder` owns encoder, decoder and codebook and minimizes
-log p(x | e_c) plus the quantizer's losses; codebooks of moving averages follow their vectors.
`prior` owns the distribution of the codes and minimizes -log p(c), with the encoder held fixed in
its inference form. If both learning rates decay to zero together, the prior is trained on settled
codes at the end. A batch is `{"x": [B, H, W, C]}` with pixels in [-1, 1]. With
`"mask": bool[B]`, False for images that only fill up the batch, losses, metrics and the
quantizer's update are those of the other images; networks with batch statistics still see all.

Any `core.Quantizer` can be used (`quantization.QUANTIZERS`). One with code_shape (L,) assigns L
codes to each position of the grid: codes are then int32[B, h, w, L], and the prior is over these.
"""

import functools
import math

import jax
import jax.numpy as jnp

from dgm_jax import quantization
from dgm_jax.core import (
    Array,
    Aux,
    Key,
    Model,
    Params,
    Player,
    PyTree,
    Quantized,
    Quantizer,
    State,
    checks,
    described,
    lookup,
    named_key,
    require,
)
from dgm_jax.models._vqvae_densities import (
    CODEBOOK,
    DECODER,
    ENCODER,
    PRIOR,
    VqVae,
    log_likelihood_of,
    vqvae_codes,
    vqvae_decode,
    vqvae_log_prior,
)
from dgm_jax.models.parts import checked_batch
from dgm_jax.objectives import vqvae as objective


def vqvae(
    vae: VqVae, image_shape: tuple[int, int, int], *, first_images: Array | None = None
) -> Model:
    """Make the model with its players.

    Args:
        vae: networks, quantizer and prior.
        image_shape: (H, W, C).
        first_images: [B, H, W, C], a batch whose encodings initialize the quantizer; only
            quantizers that start by k-means use it.

    Returns:
        The model. Its metrics are `log_likelihood` (nats per image), `commitment` (squared units
        per image), `batch_perplexity` (with L codes per vector `batch_perplexity_0` and so on),
        those of the quantizer, such as `revived`, and of the prior `prior_bits_per_code`.

    Raises:
        ConfigError: an argument that is not a network, a quantizer or a shape; from `init`, an
            encoder's output that is not [B, h, w, D]; from the losses, a batch that does not fit.
    """
    checks.network(vae.encoder, "encoder")
    checks.network(vae.decoder, "decoder")
    _require_quantizer(vae.quantizer)
    image_shape = checks.sizes(image_shape, "image_shape")

    def sample(params: Params, state: State, key: Key, num_samples: int) -> Array:
        key_codes, _ = jax.random.split(checks.one_key(key))
        if vae.prior is None:
            shape = (num_samples, *vae.code_grid)
            codes = jax.random.randint(key_codes, shape, 0, vae.quantizer.num_codes)
        else:
            codes = vae.prior.sample(params[PRIOR], key_codes, num_samples)
        return decode(params, state, codes)

    def decode(params: Params, state: State, codes: Array) -> Array:
        values = vae.quantizer.lookup(params[CODEBOOK], state[CODEBOOK], codes)
        return vqvae_decode(vae, params, state, values)

    parts = (ENCODER, DECODER, CODEBOOK)
    checked = functools.partial(checked_batch, whose="a VQ-VAE", x=image_shape)
    loss = checked(functools.partial(_autoencoder_loss, vae))
    players = {"autoencoder": Player(parts, loss)}
    if vae.prior is not None:
        players[PRIOR] = Player((PRIOR,), checked(functools.partial(_prior_loss, vae)))
    init = functools.partial(_init, vae, image_shape, first_images)
    return Model(init, players, sample, decode)


def _init(
    vae: VqVae, image_shape: tuple[int, int, int], first_images: Array | None, key: Key
) -> tuple[Params, State]:
    """(params, state) of all parts; ConfigError if the encoder's output does not fit."""
    keys = jax.random.split(checks.one_key(key), 4)
    images = jnp.zeros((2, *image_shape))
    params_e, state_e = vae.encoder.init(keys[0], images)
    encoder = functools.partial(vae.encoder.apply, params_e, state_e, train=False)
    shape = jax.eval_shape(lambda: encoder(images)[0]).shape
    expected = (2, *vae.grid, vae.quantizer.width)
    require(
        shape == expected,
        f"the encoder gives {shape[1:]}, but grid and quantizer say {expected[1:]}",
    )
    params_d, state_d = vae.decoder.init(keys[1], jnp.zeros(expected))
    first = None if first_images is None else encoder(first_images)[0]
    params_c, state_c = vae.quantizer.init(keys[2], first)
    params = {ENCODER: params_e, DECODER: params_d, CODEBOOK: params_c}
    if vae.prior is not None:
        params[PRIOR] = vae.prior.init(keys[3])
    return params, {ENCODER: state_e, DECODER: state_d, CODEBOOK: state_c}


def _require_quantizer(quantizer: object) -> None:
    """ConfigError unless it is a quantizer; for a name of one, the message has the call."""
    hint = ""
    if isinstance(quantizer, str):
        lookup(quantization.QUANTIZERS, quantizer, "quantizer")
        hint = f": write quantization.QUANTIZERS[{quantizer!r}](...), with its sizes"
    require(
        isinstance(quantizer, Quantizer),
        f"quantizer must be a core.Quantizer; got {described(quantizer)}{hint}",
    )


def _autoencoder_loss(
    vae: VqVae, params: Params, state: State, batch: PyTree, key: Key
) -> tuple[Array, Aux]:
    """Both networks are in training form; their state moves, and so does the quantizer's."""
    x = batch["x"]
    z, encoder = vae.encoder.apply(
        params[ENCODER], state[ENCODER], x, train=True, key=named_key(key, ENCODER)
    )
    quantized = vae.quantizer.quantize(params[CODEBOOK], state[CODEBOOK], z)
    output, decoder = vae.decoder.apply(
        params[DECODER],
        state[DECODER],
        quantized.quantized,
        train=True,
        key=named_key(key, DECODER),
    )
    likelihood = log_likelihood_of(output, x)
    mask = batch.get("mask")
    value = objective.loss(
        likelihood,
        quantized.codebook_loss,
        quantized.commitment_loss,
        commitment_weight=vae.commitment_weight,
        mask=mask,
    )
    codebook, moved = _update(vae.quantizer, key, state[CODEBOOK], z, quantized, mask)
    commitment = quantized.commitment_loss
    commitment = jnp.sum(commitment, axis=tuple(range(1, commitment.ndim)))
    metrics = {
        "log_likelihood": objective.mean_of_real(likelihood, mask),
        "commitment": objective.mean_of_real(commitment, mask),
        **_perplexities(vae.quantizer, _real_codes(quantized.codes, mask)),
        **moved,
    }
    return value, Aux({**state, ENCODER: encoder, DECODER: decoder, CODEBOOK: codebook}, metrics)


def _prior_loss(
    vae: VqVae, params: Params, state: State, batch: PyTree, key: Key
) -> tuple[Array, Aux]:
    del key
    codes = jax.lax.stop_gradient(vqvae_codes(vae, params, state, batch["x"]))
    nats = -objective.mean_of_real(vqvae_log_prior(vae, params, codes), batch.get("mask"))
    bits = nats / (math.prod(vae.code_grid) * math.log(2))
    return nats, Aux(state, {"prior_bits_per_code": bits})


def _update(
    quantizer: Quantizer,
    key: Key,
    state: PyTree,
    z: Array,
    quantized: Quantized,
    mask: Array | None,
) -> tuple[PyTree, dict[str, Array]]:
    """(state, metrics) of the quantizer's update by the images for which `mask` is True."""
    if mask is None:
        return quantizer.update(key, state, z, quantized)
    places = jnp.broadcast_to(jnp.asarray(mask, bool)[:, None, None], z.shape[:-1])
    return quantizer.update(key, state, z, quantized, mask=places)


def _real_codes(codes: Array, mask: Array | None) -> Array:
    """Codes [B, ...], with -1, which is not counted, for images for which `mask` is False."""
    if mask is None:
        return codes
    return jnp.where(jnp.reshape(mask, (-1,) + (1,) * (codes.ndim - 1)), codes, -1)


def _perplexities(quantizer: Quantizer, codes: Array) -> dict[str, Array]:
    """The perplexities of a batch's codes, by the name of the metric."""
    usage = quantization.codebook_usage(codes, quantizer.num_codes, quantizer.code_shape)
    if not quantizer.code_shape:
        return {"batch_perplexity": usage.perplexity}
    levels = usage.perplexity.reshape(-1)
    return {f"batch_perplexity_{index}": level for index, level in enumerate(levels)}
