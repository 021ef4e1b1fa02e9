"""Adversarial variational Bayes: a VAE whose posterior is a sampler without a density.

    encoder, decoder:  max  E_q [log p(x | z) - T(x, z)]
    critic:            min  E_q [-log sigmoid T(x, z)] + E_p(z) [-log sigmoid(-T(x, z))]

with z = encoder(x, noise). The optimal critic is T* = log q(z | x) - log p(z) (Mescheder, Nowozin
and Geiger 2017, proposition 1), so E_q T estimates KL(q || p), and the gradient that passes through
T's own parameters has mean zero (proposition 2). T is a network minus the log-density of what the
posterior is contrasted with, so that the network has only log q(z | x) to learn: the prior, or with
adaptive contrast (section 4) the Gaussian r with the moments of q(z | x). In the second case the
critic sees z standardized by the moments, and

    KL(q || p) = E_q [T + log r(z | x) - log p(z)].

A critic that lags behind overstates the bound: compare `elbo` with an estimate of log p(x) that
does not use T. A batch is `{"x": [B, H, W, C], "step": int32[]}`.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

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
    require,
)
from dgm_jax.densities import gaussian
from dgm_jax.models import latent, likelihoods, parts
from dgm_jax.models._adversarial_vae import (
    CRITIC,
    DECODER,
    ENCODER,
    PRIOR,
    AdversarialVae,
    AvbDraw,
    avb_draw,
    draw_and_state,
)
from dgm_jax.models.latent import decode, log_joint, log_likelihood, log_prior
from dgm_jax.objectives import adversarial_variational_bayes as objective
from dgm_jax.objectives.elbo import ElboTerms

__all__ = [
    "AVB_BATCH_COUPLING",
    "CRITIC",
    "DECODER",
    "ENCODER",
    "PRIOR",
    "AdversarialVae",
    "AvbDraw",
    "adversarial_variational_bayes",
    "avb_critic_logits",
    "avb_draw",
    "avb_terms",
    "decode",
    "log_joint",
    "log_likelihood",
    "log_prior",
]

AVB_BATCH_COUPLING = "adaptive contrast takes moments of the noise bases over the batch"


def avb_critic_logits(
    avb: AdversarialVae, params: Params, state: State, x: Array, draw: AvbDraw
) -> Array:
    """Compute T(x, z), the logit that z was drawn from the posterior, not from the prior (or r).

    Args:
        avb: networks and prior.
        params: of the model, by part.
        state: of the model, by part.
        x: images [B, H, W, C].
        draw: z for each example, with its moments if the contrast is adaptive.

    Returns:
        [B], in nats.
    """
    return _logits(None, avb, params, state, x, draw, train=False)[0]


def _logits(
    key: Key | None,
    avb: AdversarialVae,
    params: Params,
    state: State,
    x: Array,
    draw: AvbDraw,
    *,
    train: bool,
) -> tuple[Array, State]:
    """T(x, z), and the state with the critic's new statistics."""
    if draw.contrast is None:
        z = draw.z
        offset = avb.prior.log_prob(params[PRIOR], draw.z)
    else:
        z = objective.normalize(draw.z, draw.contrast)
        offset = jnp.sum(gaussian.log_prob(z, 0.0, 1.0), axis=-1)
    inputs = (x.reshape(x.shape[0], -1), z)
    raw, moved = avb.critic.apply(params[CRITIC], state[CRITIC], inputs, train=train, key=key)
    return objective.with_prior(raw, offset), {**state, CRITIC: moved}


def _kl(avb: AdversarialVae, params: Params, logits: Array, draw: AvbDraw) -> Array:
    """The critic's estimate of KL(q(. | x) || p) from one draw, [B] nats: T, plus log r - log p if
    the contrast is r."""
    if draw.contrast is None:
        return logits
    log_p = avb.prior.log_prob(params[PRIOR], draw.z)
    return objective.adaptive_kl(logits, draw.z, draw.contrast, log_p)


def avb_terms(
    key: Key,
    avb: AdversarialVae,
    params: Params,
    state: State,
    x: Array,
    beta: Array | float = 1.0,
) -> ElboTerms:
    """Evaluate the adversarial bound of each example, a bound only if the critic is optimal.

    Args:
        key: of the draws of z.
        avb: networks and prior.
        params: of the model, by part.
        state: of the model, by part.
        x: images [B, H, W, C].
        beta: factor on the KL.

    Returns:
        The bound, log p(x | z) and the KL, [B] each, in nats.
    """
    return _terms(key, avb, params, state, x, beta, train=False)[0]


def _terms(
    key: Key,
    avb: AdversarialVae,
    params: Params,
    state: State,
    x: Array,
    beta: Array | float,
    *,
    train: bool,
) -> tuple[ElboTerms, State]:
    """The terms, and the state with the new statistics of encoder and decoder."""
    draw, state = draw_and_state(key, avb, params, state, x, train=train)
    key_critic = named_key(key, "critic dropout")
    key_decoder = named_key(key, "decoder dropout")
    logits, _ = _logits(key_critic, avb, params, state, x, draw, train=train)
    kl = _kl(avb, params, logits, draw)
    log_x, state = avb.latent_model().log_likelihood(
        params, state, draw.z, x, train=train, key=key_decoder
    )
    return objective.terms(log_x, kl, beta), state


def _critic_loss(
    avb: AdversarialVae, params: Params, state: State, batch: PyTree, key: Key
) -> tuple[Array, Aux]:
    """Posterior draws against prior draws (or, standardized, against N(0, I)).

    No gradient reaches the encoder.
    """
    key_posterior, key_contrast = jax.random.split(key)
    x = batch["x"]
    draw, _ = jax.lax.stop_gradient(
        draw_and_state(key_posterior, avb, params, state, x, train=True)
    )
    if draw.contrast is None:
        contrast = AvbDraw(avb.prior.sample(params[PRIOR], key_contrast, x.shape[0]), None)
    else:
        z = objective.contrast_sample(key_contrast, draw.contrast, 1)[0]
        contrast = draw._replace(z=z)
    dropout = named_key(key_posterior, "critic dropout")
    logits_posterior, state = _logits(dropout, avb, params, state, x, draw, train=True)
    dropout = named_key(key_contrast, "critic dropout")
    logits_contrast, state = _logits(dropout, avb, params, state, x, contrast, train=True)
    return objective.critic_loss(logits_posterior, logits_contrast), Aux(state, {})


def _init(avb: AdversarialVae, image_shape: tuple[int, int, int], key: Key) -> tuple[Params, State]:
    """(params, state) of all parts; ConfigError if shapes do not fit."""
    names = (ENCODER, DECODER, CRITIC, PRIOR)
    keys: dict[str, Key] = dict(zip(names, jax.random.split(checks.one_key(key), 4), strict=True))
    x = jnp.zeros((2, *image_shape))
    z = jnp.zeros((2, avb.latent_size))
    flat = x.reshape(2, -1)
    inputs = {ENCODER: (flat, jnp.zeros((2, avb.noise_size))), DECODER: z, CRITIC: (flat, z)}
    networks = {ENCODER: avb.encoder, DECODER: avb.decoder, CRITIC: avb.critic}
    params, state = parts.init_parts(keys, networks, inputs)
    params_prior, state_prior = parts.init_prior(
        keys[PRIOR], avb.prior, avb.latent_size, "adversarial variational Bayes"
    )
    params = params | params_prior
    state = state | state_prior
    _require_encoder(avb, parts.output_of(avb.encoder, ENCODER, params, state, inputs[ENCODER]), z)
    parts.require_images(avb.latent_model(), params, state, z, x)
    return params, state


def _require_encoder(avb: AdversarialVae, out: PyTree, z: Array) -> None:
    """ConfigError unless the encoder's output is z, or with adaptive contrast (z, loc, scale)."""
    require(
        isinstance(out, tuple) == avb.adaptive_contrast,
        f"with adaptive_contrast={avb.adaptive_contrast} the encoder must give "
        f"{'(z, loc, scale)' if avb.adaptive_contrast else 'z alone'}",
    )
    arrays = out if avb.adaptive_contrast else (out,)
    message = f"the encoder must give (z, loc, scale), got {len(arrays)} arrays"
    require(len(arrays) in (1, 3), message)
    reason = f"latent_size={avb.latent_size}"
    for name, array in zip(("z", "loc", "scale")[: len(arrays)], arrays, strict=True):
        parts.require_shape(f"the encoder gives {name}", array.shape, z.shape, reason)


def adversarial_variational_bayes(
    avb: AdversarialVae,
    image_shape: tuple[int, int, int],
    *,
    num_critic_updates: int = 2,
    beta: Callable[[Array], Array | float] | None = None,
) -> Model:
    """Make the model and its two players, "vae" (encoder, decoder, prior) and "critic".

    Each player sees all networks in their training form; the batch statistics of a network move
    with its own player.

    Args:
        avb: networks and prior.
        image_shape: (H, W, C) of an example.
        num_critic_updates: of the critic in one step, each on fresh data and noise (2 in the
            authors' four-point problem).
        beta: `step -> factor on the KL term`; None means 1 at every step.

    Returns:
        The model, with losses in nats. Metrics: `elbo` (as the critic estimates it),
        `log_likelihood`, `kl`. With adaptive contrast the moments of the bases are those of the
        batch, so the loss couples its batch (`AVB_BATCH_COUPLING`).

    Raises:
        ConfigError: a name or number that no run could use; from `init`, parts that do not fit.
    """
    lookup(likelihoods.LIKELIHOODS, avb.likelihood, "likelihood")
    require(
        num_critic_updates >= 1, f"num_critic_updates must be at least 1, got {num_critic_updates}"
    )
    image_shape = checks.sizes(image_shape, "image_shape")
    densities = avb.latent_model()

    def loss(params: Params, state: State, batch: PyTree, key: Key) -> tuple[Array, Aux]:
        factor = 1.0 if beta is None else beta(batch["step"])
        terms, moved = _terms(key, avb, params, state, batch["x"], factor, train=True)
        log_x = jnp.mean(terms.log_likelihood)
        kl = jnp.mean(terms.kl)
        metrics = {"elbo": log_x - kl, "log_likelihood": log_x, "kl": kl}
        return -jnp.mean(terms.elbo), Aux(moved, metrics)

    checked = functools.partial(parts.checked_batch, whose=densities.name, x=image_shape, step=None)
    critic_loss = functools.partial(_critic_loss, avb)
    players = {
        "vae": Player(densities.parts, checked(loss)),
        "critic": Player((CRITIC,), checked(critic_loss), num_critic_updates),
    }
    return latent.model_of(densities, functools.partial(_init, avb, image_shape), players)
