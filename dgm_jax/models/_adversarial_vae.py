"""The networks of adversarial variational Bayes, and draws of its implicit posterior."""

import functools
from typing import NamedTuple

import jax

from dgm_jax.core import (
    Array,
    Key,
    LatentModel,
    Network,
    Params,
    Prior,
    PyTree,
    State,
    checks,
    named_key,
    normal,
)
from dgm_jax.models import likelihoods, parts
from dgm_jax.objectives.adversarial_variational_bayes import Contrast

ENCODER = "encoder"
DECODER = "decoder"
PRIOR = "prior"
CRITIC = "critic"


class AdversarialVae(NamedTuple):
    """The networks and the prior of one model; the functions of `models.latent` take it.

    Attributes:
        encoder: `(x [B, X], noise [B, E]) -> z [B, D]`, X the pixels of an image; with adaptive
            contrast `-> (z, loc, scale)`, the moments of q(z | x) without gradient
            (`networks.AdditiveNoiseEncoder`).
        decoder: `z [B, D] -> [B, H, W, F]`.
        critic: `(x [B, X], z [B, D]) -> logits [B]`.
        prior: a normalized `Prior`.
        latent_size: D.
        noise_size: E, standard normal numbers for one draw.
        adaptive_contrast: contrast the posterior with a Gaussian of its moments, not with the
            prior.
        likelihood: a name of `models.likelihoods.LIKELIHOODS`.
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
        """Return its densities.

        The posterior is implicit, so log q(z | x), entropy and rate are absent.
        """
        networks = {ENCODER: self.encoder, DECODER: self.decoder, CRITIC: self.critic}
        for part, network in networks.items():
            checks.network(network, part)
        parts.require_prior(self.prior, self.latent_size)
        log_likelihood_of, decode_of = likelihoods.of_decoder(self.likelihood, self.decoder)
        return LatentModel(
            name="adversarial variational Bayes",
            parts=(ENCODER, DECODER, PRIOR),
            posterior=_posterior,
            sample_posterior=functools.partial(_sample_posterior, self),
            log_likelihood=log_likelihood_of,
            sample_prior=lambda params, state, key, num: self.prior.sample(params[PRIOR], key, num),
            decode=decode_of,
            log_prior=lambda params, state, z: self.prior.log_prob(params[PRIOR], z),
        )


class AvbDraw(NamedTuple):
    """One draw for each example.

    Attributes:
        z: [B, D] ~ q(z | x).
        contrast: the Gaussian with q's moments, for adaptive contrast; None without it.
    """

    z: Array
    contrast: Contrast | None


class _Implicit(NamedTuple):
    """An implicit q(z | x): the encoder's params and state, and x [B, H, W, C]."""

    params: PyTree
    state: PyTree
    x: Array


def _posterior(
    params: Params, state: State, x: Array, /, *, train: bool, key: Key | None = None
) -> tuple[_Implicit, State]:
    """Its draws are in the inference form; `draw_and_state` is the form that trains the encoder."""
    del train, key
    return _Implicit(params[ENCODER], state[ENCODER], x), state


def _sample_posterior(
    avb: AdversarialVae, key: Key, q: _Implicit, num_samples: int | None = None
) -> Array:
    def draw(key: Key) -> Array:
        return avb_draw(key, avb, {ENCODER: q.params}, {ENCODER: q.state}, q.x).z

    if num_samples is None:
        return draw(key)
    return jax.lax.map(draw, jax.random.split(key, num_samples))


def avb_draw(key: Key, avb: AdversarialVae, params: Params, state: State, x: Array) -> AvbDraw:
    """Draw z ~ q(z | x) once for each example, differentiably in the encoder.

    Args:
        key: of the draws.
        avb: networks and prior.
        params: of the model, by part.
        state: of the model, by part.
        x: images [B, H, W, C].

    Returns:
        The draws, in the inference form of the encoder.
    """
    return draw_and_state(key, avb, params, state, x, train=False)[0]


def draw_and_state(
    key: Key, avb: AdversarialVae, params: Params, state: State, x: Array, *, train: bool
) -> tuple[AvbDraw, State]:
    """Draw z ~ q(z | x) once for each example.

    Args:
        key: of the draws and of dropout.
        avb: networks and prior.
        params: of the model, by part.
        state: of the model, by part.
        x: images [B, H, W, C].
        train: whether the encoder is in its training form.

    Returns:
        (the draws, the state with the encoder's new statistics).
    """
    noise = normal(key, (x.shape[0], avb.noise_size))
    out, moved = avb.encoder.apply(
        params[ENCODER],
        state[ENCODER],
        (x.reshape(x.shape[0], -1), noise),
        train=train,
        key=named_key(key, "encoder dropout"),
    )
    if avb.adaptive_contrast:
        draw = AvbDraw(out[0], Contrast(*out[1:]))
    else:
        draw = AvbDraw(out, None)
    return draw, {**state, ENCODER: moved}
