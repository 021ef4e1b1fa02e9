"""DALL-E's discrete VAE (Ramesh et al. 2021, section 2.1): image tokens for a transformer, by
Gumbel-softmax.

    loss = -E_q [log p(x | z)] + beta KL(q(z | x) || uniform),   z relaxed at temperature tau

Encoder and decoder are convolutional, z is a grid of one-hot codes, and the likelihood is
logit-Laplace on pixels in [0, 1]. Both tau and beta are functions of the step
(`sampling.temperature.cosine`, `objectives.elbo.warm_up`). A batch is
`{"x": [B, H, W, C], "step": int32[]}`. Tokens are the most probable codes. Evaluate with
`models.gumbel_bounds` (hard and relaxed bounds) and `latent.log_weights`.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from dgm_jax import sampling
from dgm_jax.core import (
    Array,
    Aux,
    Key,
    Model,
    Params,
    Player,
    PyTree,
    State,
    checks,
    lookup,
    named_key,
)
from dgm_jax.models import latent, parts
from dgm_jax.models._gumbel_vae import GumbelVae, init_of, kl_to_prior, logits_of
from dgm_jax.models.likelihoods import LIKELIHOODS
from dgm_jax.objectives.elbo import elbo

AUTOENCODER = "autoencoder"
RELAXATIONS = {
    "soft": sampling.gumbel_softmax,
    "straight_through": sampling.straight_through_gumbel_softmax,
}


def tokens_of(vae: GumbelVae, params: Params, state: State, x: Array) -> Array:
    """Compute the most probable codes, on which DALL-E's transformer is trained (section 2.2).

    Args:
        vae: the networks.
        params: of the model, by part.
        state: of the model, by part.
        x: images [B, H, W, C] in [0, 1].

    Returns:
        int32[B, *G], with no gradient.
    """
    logits = jax.lax.stop_gradient(logits_of(vae, params, state, x))
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def decode_tokens(vae: GumbelVae, params: Params, state: State, tokens: Array) -> Array:
    """Decode tokens to images.

    Args:
        vae: the networks.
        params: of the model, by part.
        state: of the model, by part.
        tokens: int[B, *G].

    Returns:
        Images [B, H, W, C] in [0, 1].
    """
    return latent.decode(vae, params, state, jax.nn.one_hot(tokens, vae.num_classes))


def discrete_vae(
    vae: GumbelVae,
    image_shape: tuple[int, int, int],
    *,
    temperature: Callable[[Array], Array],
    beta: Callable[[Array], Array],
    relaxation: str = "soft",
) -> Model:
    """Make the model and its one player, "autoencoder".

    Args:
        vae: the networks; their batch statistics move, and dropout has its own keys.
        image_shape: (H, W, C) of an example.
        temperature: `step -> tau`.
        beta: `step -> factor on the KL`.
        relaxation: "soft" decodes the relaxed codes, "straight_through" the hard ones with the
            gradient of the relaxed ones.

    Returns:
        The model. Its loss is in nats per image, a mean over examples. Metrics: `relaxed_elbo`
        (with beta 1), `kl`, `temperature`, `beta`.

    Raises:
        ConfigError: an unknown name; from `init`, parts that do not fit.
    """
    lookup(LIKELIHOODS, vae.likelihood, "likelihood")
    relax = lookup(RELAXATIONS, relaxation, "relaxation")
    image_shape = checks.sizes(image_shape, "image_shape")
    densities = vae.latent_model()

    def loss(params: Params, state: State, batch: PyTree, key: Key) -> tuple[Array, Aux]:
        tau = temperature(batch["step"])
        weight = beta(batch["step"])
        key_encoder = named_key(key, "encoder dropout")
        key_decoder = named_key(key, "decoder dropout")
        logits, moved = densities.posterior(params, state, batch["x"], train=True, key=key_encoder)
        z = relax(key, logits, tau)
        log_x, moved = densities.log_likelihood(
            params, moved, z, batch["x"], train=True, key=key_decoder
        )
        terms = elbo(log_x, kl_to_prior(vae, logits), weight)
        metrics = {
            "relaxed_elbo": jnp.mean(terms.log_likelihood - terms.kl),
            "kl": jnp.mean(terms.kl),
            "temperature": tau,
            "beta": weight,
        }
        return -jnp.mean(terms.elbo), Aux(moved, metrics)

    checked = parts.checked_batch(loss, "a discrete VAE", x=image_shape, step=None)
    init = functools.partial(init_of, vae=vae, image_shape=image_shape)
    return latent.model_of(densities, init, {AUTOENCODER: Player(densities.parts, checked)})


def on_tokens(player: Player, vae: GumbelVae) -> Player:
    """Let a player of codes, such as that of `autoregressive`, read images.

    `x` of its batch is tokenized first. The tokenizer is held constant, so both can be trained in
    one game; the codes settle as the tokenizer's learning rate decays.

    Args:
        player: one whose batch has `x` as codes.
        vae: the tokenizer.

    Returns:
        The player, whose batch has `x` as images.
    """

    def loss(params: Params, state: State, batch: PyTree, key: Key) -> tuple[Array, Aux]:
        tokens = tokens_of(vae, params, state, batch["x"])
        return player.loss(params, state, {**batch, "x": tokens}, key)

    return player._replace(loss=loss)
