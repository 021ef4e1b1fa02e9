"""Adversarial variational Bayes: a VAE whose posterior is a sampler without a density.

    encoder, decoder:  max  E_q [log p(x | z) - T(x, z)]
    critic:            min  E_q [-log sigmoid T(x, z)] + E_p(z) [-log sigmoid(-T(x, z))]

with z = encoder(x, noise). The optimal critic is T* = log q(z | x) - log p(z) (Mescheder, Nowozin
and Geiger 2017, proposition 1), so E_q T estimates KL(q || p), and the gradient that passes through
T's own parameters has mean zero (proposition 2). T is a network minus the log-density of what the
posterior is contrasted with, which comes from the prior object: the network then has only log q(z |
x) to learn. With adaptive contrast (section 4) that is the Gaussian r with the moments of q(z | x),
the critic sees z standardised by them, and

    KL(q || p) = E_q [T + log r(z | x) - log p(z)].

A critic that lags behind overstates the bound: hold `elbo` against an estimate of log p(x) that
does not know T. A batch is `{"x": [B, H, W, C], "step": int32[]}`.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Aux, Key, Model, Network, Player, Prior, lookup, normal, require
from dgm_jax.densities import gaussian
from dgm_jax.models import likelihoods
from dgm_jax.models.stateless import require_stateless
from dgm_jax.objectives import adversarial_variational_bayes as objective
from dgm_jax.objectives.adversarial_variational_bayes import Contrast
from dgm_jax.objectives.elbo import ElboTerms
from dgm_jax.priors import require_density

ENCODER, DECODER, PRIOR, CRITIC = "encoder", "decoder", "prior", "critic"


class AdversarialVae(NamedTuple):
    """What the functions below need to know about one model; its networks have no state.

    encoder: `(x [B, X], noise [B, E]) -> z [B, D]`, X the pixels of an image; with adaptive
        contrast `-> (z, loc, scale)`, the moments of q(z | x) without gradient
        (`networks.AdditiveNoiseEncoder`).
    decoder: `z [B, D] -> [B, H, W, F]`. critic: `(x [B, X], z [B, D]) -> logits [B]`. prior: a
        normalised `Prior`.
    noise_size: E, standard normal numbers for one draw. likelihood: a name of
        `models.likelihoods.LIKELIHOODS`.
    """

    encoder: Network
    decoder: Network
    critic: Network
    prior: Prior
    latent_size: int
    noise_size: int
    adaptive_contrast: bool = False
    likelihood: str = "bernoulli"


class Draw(NamedTuple):
    """z [B, D] ~ q(z | x), and the Gaussian with q's moments that adaptive contrast works with
    (None without it)."""

    z: Array
    contrast: Contrast | None


def draw_posterior(key: Key, avb: AdversarialVae, params, state, x: Array) -> Draw:
    """One draw for each example of x [B, H, W, C], differentiable in the encoder."""
    flat = x.reshape(x.shape[0], -1)
    noise = normal(key, (x.shape[0], avb.noise_size))
    out, _ = avb.encoder.apply(params[ENCODER], state[ENCODER], (flat, noise), train=False)
    return Draw(out[0], Contrast(*out[1:])) if avb.adaptive_contrast else Draw(out, None)


def log_prior(avb: AdversarialVae, params, z: Array) -> Array:
    """log p(z): [*B, D] -> [*B], nats."""
    return avb.prior.log_prob(params[PRIOR], z)


def log_likelihood(avb: AdversarialVae, params, state, z: Array, x: Array) -> Array:
    """log p(x | z), summed over pixels: z [*B, D], x [H, W, C] or [*B, H, W, C] -> [*B], nats."""
    where = params[DECODER], state[DECODER], z, x
    return likelihoods.log_likelihood_of_latents(avb.likelihood, avb.decoder, *where)


def log_joint(avb: AdversarialVae, params, state, z: Array, x: Array) -> Array:
    """log p(x, z), shapes as in `log_likelihood`."""
    return log_likelihood(avb, params, state, z, x) + log_prior(avb, params, z)


def critic_logits(avb: AdversarialVae, params, state, x: Array, draw: Draw) -> Array:
    """T(x, z) [B]: the logit that z was drawn from the posterior, not from the prior (or from
    r)."""
    flat = x.reshape(x.shape[0], -1)
    if draw.contrast is None:
        z, offset = draw.z, log_prior(avb, params, draw.z)
    else:
        z = objective.normalise(draw.z, draw.contrast)
        offset = jnp.sum(gaussian.log_prob(z, 0.0, 1.0), axis=-1)
    raw, _ = avb.critic.apply(params[CRITIC], state[CRITIC], (flat, z), train=False)
    return objective.with_prior(raw, offset)


def kl_estimate(avb: AdversarialVae, params, state, x: Array, draw: Draw) -> Array:
    """The critic's KL(q(. | x) || p) at one draw, [B] nats: T, and log r - log p where the contrast
    is r."""
    logits = critic_logits(avb, params, state, x, draw)
    if draw.contrast is None:
        return logits
    return objective.adaptive_kl(logits, draw.z, draw.contrast, log_prior(avb, params, draw.z))


def terms(
    key: Key, avb: AdversarialVae, params, state, x: Array, beta: Array | float = 1.0
) -> ElboTerms:
    """The adversarial bound of each example, [B] nats: a bound only as far as the critic is
    optimal."""
    draw = draw_posterior(key, avb, params, state, x)
    kl = kl_estimate(avb, params, state, x, draw)
    return objective.terms(log_likelihood(avb, params, state, draw.z, x), kl, beta)


def decode(avb: AdversarialVae, params, state, z: Array) -> Array:
    """The images [B, H, W, C] in [0, 1] shown for z [B, D]."""
    out, _ = avb.decoder.apply(params[DECODER], state[DECODER], z, train=False)
    return likelihoods.shown(avb.likelihood, out)


def _critic_loss(avb: AdversarialVae, params, state, batch, key):
    """Posterior draws against prior draws (or, standardised, against N(0, I)); no gradient reaches
    the encoder."""
    key_posterior, key_other = jax.random.split(key)
    x = batch["x"]
    draw = jax.lax.stop_gradient(draw_posterior(key_posterior, avb, params, state, x))
    if draw.contrast is None:
        other = Draw(avb.prior.sample(params[PRIOR], key_other, x.shape[0]), None)
    else:
        other = draw._replace(z=objective.contrast_sample(key_other, draw.contrast, 1)[0])
    logits = [critic_logits(avb, params, state, x, each) for each in (draw, other)]
    return objective.critic_loss(*logits), Aux(state, {})


def init_of(key: Key, avb: AdversarialVae, image_shape: tuple[int, int, int]):
    """(params, state) of all parts; ConfigError where shapes do not fit, and for a network with
    state."""
    keys = jax.random.split(key, 4)
    x, z = jnp.zeros((2, *image_shape)), jnp.zeros((2, avb.latent_size))
    flat = x.reshape(2, -1)
    inputs = {ENCODER: (flat, jnp.zeros((2, avb.noise_size))), DECODER: z, CRITIC: (flat, z)}
    networks = {ENCODER: avb.encoder, DECODER: avb.decoder, CRITIC: avb.critic}
    params, state = {}, {}
    for key_part, (name, example) in zip(keys, inputs.items(), strict=False):  # 4th: the prior's
        params[name], state[name] = networks[name].init(key_part, example)
    require_stateless("adversarial variational Bayes", state)
    params[PRIOR], state[PRIOR] = avb.prior.init(keys[3]), {}
    require_density(avb.prior, params[PRIOR], avb.latent_size, "adversarial variational Bayes")
    out = jax.eval_shape(
        lambda: avb.encoder.apply(params[ENCODER], state[ENCODER], inputs[ENCODER], train=False)[0]
    )
    require(
        isinstance(out, tuple) == avb.adaptive_contrast,
        f"with adaptive_contrast={avb.adaptive_contrast} the encoder must give "
        f"{'(z, loc, scale)' if avb.adaptive_contrast else 'z alone'}",
    )
    parts = out if avb.adaptive_contrast else (out,)
    require(len(parts) in (1, 3), f"the encoder must give (z, loc, scale), got {len(parts)} arrays")
    for name, part in zip(("z", "loc", "scale")[: len(parts)], parts, strict=True):
        require(
            part.shape == z.shape,
            f"the encoder gives {name} {part.shape[1:]}, but latent_size={avb.latent_size}",
        )
    shown = jax.eval_shape(lambda: decode(avb, params, state, z)).shape
    require(
        shown == x.shape, f"the decoder gives images {shown[1:]}, but examples are {x.shape[1:]}"
    )
    return params, state


def adversarial_variational_bayes(
    avb: AdversarialVae,
    image_shape: tuple[int, int, int],
    *,
    num_critic_updates: int = 2,
    beta: Callable[[Array], Array | float] = lambda step: 1.0,
) -> Model:
    """The model and its two players, "vae" (encoder, decoder, prior) and "critic".

    num_critic_updates: of the critic in one step, each on fresh data and noise (2 in the authors'
        four-point problem).
    beta: `step -> factor on the KL`.

    Metrics: `elbo` (the critic's), `log_likelihood`, `kl`. With adaptive contrast the moments of
        the bases are those of
    the batch, so the loss couples its batch: see `BATCH_COUPLING`.
    """
    lookup(likelihoods.LIKELIHOODS, avb.likelihood, "likelihood")
    require(
        num_critic_updates >= 1, f"num_critic_updates must be at least 1, got {num_critic_updates}"
    )

    def loss(params, state, batch, key):
        found = terms(key, avb, params, state, batch["x"], beta(batch["step"]))
        plain = {"log_likelihood": jnp.mean(found.log_likelihood), "kl": jnp.mean(found.kl)}
        return -jnp.mean(found.elbo), Aux(
            state, {"elbo": plain["log_likelihood"] - plain["kl"], **plain}
        )

    def sample(params, state, key, num):
        return decode(avb, params, state, avb.prior.sample(params[PRIOR], key, num))

    players = {
        "vae": Player((ENCODER, DECODER, PRIOR), loss),
        "critic": Player((CRITIC,), functools.partial(_critic_loss, avb), num_critic_updates),
    }
    return Model(
        lambda key: init_of(key, avb, image_shape), players, sample, functools.partial(decode, avb)
    )


BATCH_COUPLING = "adaptive contrast takes moments of the noise bases over the batch"
