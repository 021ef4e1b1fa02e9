"""DALL-E's discrete VAE (Ramesh et al. 2021, section 2.1): image tokens by Gumbel-softmax, ready
for a transformer.

    loss = -E_q [log p(x | z)] + beta KL(q(z | x) || uniform),   z relaxed at temperature tau

Encoder and decoder are convolutional, z is a grid of one-hot codes, the likelihood logit-Laplace on
pixels in [0, 1]. Both tau and beta are functions of the step (`sampling.temperature.cosine`,
`objectives.elbo.warm_up`). A batch is `{"x": [B, H, W, C], "step": int32[]}`. Tokens are the most
probable codes. Evaluate with the functions of
`models.gumbel_vae`: hard, relaxed and importance-weighted bounds.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from dgm_jax import sampling
from dgm_jax.core import Array, Aux, Model, Params, Player, State, checks, lookup, named_key
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
    """The most probable codes int32[B, *G], with no gradient: what DALL-E's transformer is trained
    on (section 2.2)."""
    return jnp.argmax(jax.lax.stop_gradient(logits_of(vae, params, state, x)), axis=-1).astype(
        jnp.int32
    )


def decode_tokens(vae: GumbelVae, params: Params, state: State, tokens: Array) -> Array:
    """Images [B, H, W, C] in [0, 1] of tokens int[B, *G]."""
    return latent.decode(vae, params, state, jax.nn.one_hot(tokens, vae.num_classes))


def discrete_vae(
    vae: GumbelVae,
    image_shape: tuple[int, int, int],
    *,
    temperature: Callable[[Array], Array],
    beta: Callable[[Array], Array],
    relaxation: str = "soft",
) -> Model:
    """The model and its one player, `autoencoder`; the loss is in nats an image, a mean over
    examples.

    Args:
      vae: the networks; their batch statistics move, and dropout has keys of its own.
      image_shape: (H, W, C) of an example.
      temperature, beta: `step -> scalar`.
      relaxation: "soft" decodes the relaxed codes, "straight_through" the hard ones with the
        relaxed ones' gradient.

    Returns:
      The model. Metrics: `relaxed_elbo` (with beta 1), `kl`, `temperature`, `beta`.
    """
    lookup(LIKELIHOODS, vae.likelihood, "likelihood")
    relax = lookup(RELAXATIONS, relaxation, "relaxation")
    image_shape = checks.sizes(image_shape, "image_shape")
    densities = vae.latent_model()

    def loss(params, state, batch, key):
        tau, weight = temperature(batch["step"]), beta(batch["step"])
        key_encoder, key_decoder = (
            named_key(key, f"{part} dropout") for part in ("encoder", "decoder")
        )
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
    """A player whose batch has `x` as codes, such as `autoregressive`'s, made to read images: `x`
    is tokenised first.

    The tokeniser is held constant, so both can be trained in one game; the codes settle as its
    learning rate falls.
    """

    def loss(params, state, batch, key):
        return player.loss(
            params, state, {**batch, "x": tokens_of(vae, params, state, batch["x"])}, key
        )

    return player._replace(loss=loss)
