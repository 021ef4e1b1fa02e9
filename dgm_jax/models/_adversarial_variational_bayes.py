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

from dgm_jax.core import (
    Array,
    Aux,
    Key,
    LatentModel,
    Model,
    Network,
    Params,
    Player,
    Prior,
    PyTree,
    State,
    checks,
    lookup,
    named_key,
    normal,
    require,
)
from dgm_jax.densities import gaussian
from dgm_jax.models import latent, likelihoods, parts
from dgm_jax.models.latent import decode, log_joint, log_likelihood, log_prior
from dgm_jax.objectives import adversarial_variational_bayes as objective
from dgm_jax.objectives.adversarial_variational_bayes import Contrast
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

ENCODER, DECODER, PRIOR, CRITIC = "encoder", "decoder", "prior", "critic"
AVB_BATCH_COUPLING = "adaptive contrast takes moments of the noise bases over the batch"


class AdversarialVae(NamedTuple):
    """The networks and the prior of one model; the functions of `models.latent` take it.

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

    def latent_model(self) -> LatentModel:
        """Its densities; the posterior is implicit, so log q(z | x), entropy and rate are not
        there."""
        networks = {ENCODER: self.encoder, DECODER: self.decoder, CRITIC: self.critic}
        for part, network in networks.items():
            checks.network(network, part)
        parts.require_prior(self.prior, self.latent_size)
        likelihood, shown = likelihoods.of_decoder(self.likelihood, self.decoder)
        return LatentModel(
            name="adversarial variational Bayes",
            parts=(ENCODER, DECODER, PRIOR),
            posterior=_posterior,
            sample_posterior=functools.partial(_sample_posterior, self),
            log_likelihood=likelihood,
            sample_prior=lambda params, state, key, num: self.prior.sample(params[PRIOR], key, num),
            decode=shown,
            log_prior=lambda params, state, z: self.prior.log_prob(params[PRIOR], z),
        )


class AvbDraw(NamedTuple):
    """z [B, D] ~ q(z | x), and the Gaussian with q's moments that adaptive contrast works with
    (None without it)."""

    z: Array
    contrast: Contrast | None


class _Implicit(NamedTuple):
    """What an implicit q(z | x) is made of: the encoder, and x [B, H, W, C]."""

    params: PyTree
    state: PyTree
    x: Array


def _posterior(params, state, x, /, *, train, key=None) -> tuple[_Implicit, State]:
    """Draws of it are in the inference form: `_draw` is what trains the encoder."""
    del train, key
    return _Implicit(params[ENCODER], state[ENCODER], x), state


def _sample_posterior(
    avb: AdversarialVae, key: Key, q: _Implicit, num_samples: int | None = None
) -> Array:
    params, state = {ENCODER: q.params}, {ENCODER: q.state}
    one = lambda key: avb_draw(key, avb, params, state, q.x).z
    return one(key) if num_samples is None else jax.lax.map(one, jax.random.split(key, num_samples))


def avb_draw(key: Key, avb: AdversarialVae, params: Params, state: State, x: Array) -> AvbDraw:
    """One draw for each example of x [B, H, W, C], differentiable in the encoder."""
    return _draw(key, avb, params, state, x, train=False)[0]


def _draw(key, avb: AdversarialVae, params, state, x, *, train) -> tuple[AvbDraw, State]:
    """The draw, and the state with the encoder's new statistics."""
    noise = normal(key, (x.shape[0], avb.noise_size))
    out, moved = avb.encoder.apply(
        params[ENCODER],
        state[ENCODER],
        (x.reshape(x.shape[0], -1), noise),
        train=train,
        key=named_key(key, "encoder dropout"),
    )
    draw = AvbDraw(out[0], Contrast(*out[1:])) if avb.adaptive_contrast else AvbDraw(out, None)
    return draw, {**state, ENCODER: moved}


def avb_critic_logits(
    avb: AdversarialVae, params: Params, state: State, x: Array, draw: AvbDraw
) -> Array:
    """T(x, z) [B]: the logit that z was drawn from the posterior, not from the prior (or from
    r)."""
    return _logits(None, avb, params, state, x, draw, train=False)[0]


def _logits(key, avb: AdversarialVae, params, state, x, draw: AvbDraw, *, train):
    """T(x, z), and the state with the critic's new statistics."""
    if draw.contrast is None:
        z, offset = draw.z, avb.prior.log_prob(params[PRIOR], draw.z)
    else:
        z = objective.normalise(draw.z, draw.contrast)
        offset = jnp.sum(gaussian.log_prob(z, 0.0, 1.0), axis=-1)
    inputs = x.reshape(x.shape[0], -1), z
    raw, moved = avb.critic.apply(params[CRITIC], state[CRITIC], inputs, train=train, key=key)
    return objective.with_prior(raw, offset), {**state, CRITIC: moved}


def _kl(avb: AdversarialVae, params, logits: Array, draw: AvbDraw) -> Array:
    """The critic's KL(q(. | x) || p) at one draw, [B] nats: T, and log r - log p where the contrast
    is r."""
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
    """The adversarial bound of each example, [B] nats: a bound only as far as the critic is
    optimal."""
    return _terms(key, avb, params, state, x, beta, train=False)[0]


def _terms(key, avb: AdversarialVae, params, state, x, beta, *, train) -> tuple[ElboTerms, State]:
    draw, state = _draw(key, avb, params, state, x, train=train)
    key_critic, key_decoder = (named_key(key, f"{part} dropout") for part in ("critic", "decoder"))
    logits, _ = _logits(key_critic, avb, params, state, x, draw, train=train)
    kl = _kl(avb, params, logits, draw)
    log_x, state = avb.latent_model().log_likelihood(
        params, state, draw.z, x, train=train, key=key_decoder
    )
    return objective.terms(log_x, kl, beta), state


def _critic_loss(avb: AdversarialVae, params, state, batch, key):
    """Posterior draws against prior draws (or, standardised, against N(0, I)); no gradient reaches
    the encoder."""
    key_posterior, key_other = jax.random.split(key)
    x = batch["x"]
    draw, _ = jax.lax.stop_gradient(_draw(key_posterior, avb, params, state, x, train=True))
    if draw.contrast is None:
        other = AvbDraw(avb.prior.sample(params[PRIOR], key_other, x.shape[0]), None)
    else:
        other = draw._replace(z=objective.contrast_sample(key_other, draw.contrast, 1)[0])
    logits = []
    for each, key_each in ((draw, key_posterior), (other, key_other)):
        dropout = named_key(key_each, "critic dropout")
        found, state = _logits(dropout, avb, params, state, x, each, train=True)
        logits.append(found)
    return objective.critic_loss(*logits), Aux(state, {})


def _init(avb: AdversarialVae, image_shape: tuple[int, int, int], key: Key) -> tuple[Params, State]:
    """(params, state) of all parts; ConfigError where shapes do not fit."""
    names = ENCODER, DECODER, CRITIC, PRIOR
    keys: dict[str, Key] = dict(zip(names, jax.random.split(checks.one_key(key), 4), strict=True))
    x, z = jnp.zeros((2, *image_shape)), jnp.zeros((2, avb.latent_size))
    flat = x.reshape(2, -1)
    inputs = {ENCODER: (flat, jnp.zeros((2, avb.noise_size))), DECODER: z, CRITIC: (flat, z)}
    networks = {ENCODER: avb.encoder, DECODER: avb.decoder, CRITIC: avb.critic}
    params, state = parts.init_parts(keys, networks, inputs)
    own = parts.init_prior(keys[PRIOR], avb.prior, avb.latent_size, "adversarial variational Bayes")
    params, state = params | own[0], state | own[1]
    out = parts.output_of(avb.encoder, ENCODER, params, state, inputs[ENCODER])
    require(
        isinstance(out, tuple) == avb.adaptive_contrast,
        f"with adaptive_contrast={avb.adaptive_contrast} the encoder must give "
        f"{'(z, loc, scale)' if avb.adaptive_contrast else 'z alone'}",
    )
    given = out if avb.adaptive_contrast else (out,)
    require(len(given) in (1, 3), f"the encoder must give (z, loc, scale), got {len(given)} arrays")
    for name, array in zip(("z", "loc", "scale")[: len(given)], given, strict=True):
        told = f"latent_size={avb.latent_size}"
        parts.require_shape(f"the encoder gives {name}", array.shape, z.shape, told)
    parts.require_images(avb.latent_model(), params, state, z, x)
    return params, state


def adversarial_variational_bayes(
    avb: AdversarialVae,
    image_shape: tuple[int, int, int],
    *,
    num_critic_updates: int = 2,
    beta: Callable[[Array], Array | float] = lambda step: 1.0,
) -> Model:
    """The model and its two players, "vae" (encoder, decoder, prior) and "critic".

    Each player sees all networks in their training form; the batch statistics of a network move
    with its own player.

    Args:
      avb: networks and prior.
      image_shape: (H, W, C) of an example.
      num_critic_updates: of the critic in one step, each on fresh data and noise (2 in the authors'
        four-point problem).
      beta: `step -> factor on the KL`.

    Returns:
      The model. Metrics: `elbo` (the critic's), `log_likelihood`, `kl`. With adaptive contrast the
      moments of the bases are those of the batch, so the loss couples its batch
      (`AVB_BATCH_COUPLING`).

    Raises:
      ConfigError: a name or number that no run could use; from `init`, parts that do not fit.
    """
    lookup(likelihoods.LIKELIHOODS, avb.likelihood, "likelihood")
    require(
        num_critic_updates >= 1, f"num_critic_updates must be at least 1, got {num_critic_updates}"
    )
    image_shape = checks.sizes(image_shape, "image_shape")
    densities = avb.latent_model()

    def loss(params, state, batch, key):
        x, factor = batch["x"], beta(batch["step"])
        found, moved = _terms(key, avb, params, state, x, factor, train=True)
        plain = {"log_likelihood": jnp.mean(found.log_likelihood), "kl": jnp.mean(found.kl)}
        metrics = {"elbo": plain["log_likelihood"] - plain["kl"], **plain}
        return -jnp.mean(found.elbo), Aux(moved, metrics)

    checked = functools.partial(parts.checked_batch, whose=densities.name, x=image_shape, step=None)
    critic_loss = functools.partial(_critic_loss, avb)
    players = {
        "vae": Player(densities.parts, checked(loss)),
        "critic": Player((CRITIC,), checked(critic_loss), num_critic_updates),
    }
    return latent.model_of(densities, functools.partial(_init, avb, image_shape), players)
