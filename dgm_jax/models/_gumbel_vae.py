"""A VAE with categorical latents, trained by any gradient estimator.

    log p(x) >= E_q(z|x) [log p(x | z)] - sum_i KL(q(z_i | x) || uniform over K)

z is an array of independent one-hot variables of K classes. The first term's gradient in the
encoder's logits comes from `sampling.estimators.ESTIMATORS` (Gumbel-softmax: Jang et al. 2017,
Maddison et al. 2017); the second is analytic. A batch is `{"x": [B, ...], "step": int32[]}`; the
temperature is a function of the step.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax import sampling
from dgm_jax.core import (
    Array,
    Aux,
    Key,
    LatentModel,
    Model,
    Network,
    Params,
    Player,
    PyTree,
    State,
    checks,
    lookup,
    named_key,
)
from dgm_jax.densities import categorical
from dgm_jax.models import latent, likelihoods, parts
from dgm_jax.models.latent import decode, log_likelihood, log_weights
from dgm_jax.models.stateless import require_stateless
from dgm_jax.objectives.elbo import elbo
from dgm_jax.sampling.estimators import ESTIMATORS, HAS_TEMPERATURE, expectation

__all__ = [
    "DECODER",
    "ENCODER",
    "GumbelVae",
    "decode",
    "gumbel_vae",
    "init_of",
    "kl_to_prior",
    "log_likelihood",
    "log_weights",
    "logits_of",
]

ENCODER = "encoder"
DECODER = "decoder"


class GumbelVae(NamedTuple):
    """The networks of one model; the functions of `models.latent` take it.

    Attributes:
        encoder: `x [B, H, W, C] -> logits [B, *G, K]`.
        decoder: `z [B, *G, K] -> [B, H, W, F]`.
        latent_shape: *G, such as (20,) or a grid (7, 7).
        num_classes: K.
        likelihood: a name of `models.likelihoods.LIKELIHOODS`.
    """

    encoder: Network
    decoder: Network
    latent_shape: tuple[int, ...]
    num_classes: int
    likelihood: str = "bernoulli"

    def latent_model(self) -> LatentModel:
        """Return its densities.

        q is the logits [B, *G, K]. Draws are one-hot and not differentiable.
        """
        checks.network(self.encoder, "encoder")
        checks.network(self.decoder, "decoder")
        latent_shape = checks.sizes(self.latent_shape, "latent_shape")
        log_likelihood_of, decode_of = likelihoods.of_decoder(
            self.likelihood, self.decoder, DECODER, event_ndim=len(latent_shape) + 1
        )
        return LatentModel(
            name="a VAE with categorical latents",
            parts=(ENCODER, DECODER),
            posterior=functools.partial(_posterior, self),
            sample_posterior=functools.partial(_sample_posterior, self),
            log_likelihood=log_likelihood_of,
            sample_prior=functools.partial(_sample_prior, self),
            decode=decode_of,
            log_prior=functools.partial(_log_prior, self),
            log_posterior=functools.partial(_log_posterior, self),
            rate=lambda params, state, q: categorical.kl_to_uniform(q),
            reparameterized=False,
        )


def _posterior(
    vae: GumbelVae,
    params: Params,
    state: State,
    x: Array,
    /,
    *,
    train: bool,
    key: Key | None = None,
) -> tuple[Array, State]:
    logits, moved = vae.encoder.apply(params[ENCODER], state[ENCODER], x, train=train, key=key)
    return logits, {**state, ENCODER: moved}


def _sample_posterior(vae: GumbelVae, key: Key, q: Array, num_samples: int | None = None) -> Array:
    logits = q if num_samples is None else jnp.broadcast_to(q, (num_samples, *q.shape))
    return jax.nn.one_hot(sampling.gumbel_max(key, logits), vae.num_classes)


def _sample_prior(
    vae: GumbelVae, params: Params, state: State, key: Key, num_samples: int
) -> Array:
    uniform_logits = jnp.zeros((num_samples, *vae.latent_shape, vae.num_classes))
    return _sample_posterior(vae, key, uniform_logits)


def _log_prior(vae: GumbelVae, params: Params, state: State, z: Array) -> Array:
    value = -math.prod(vae.latent_shape) * math.log(vae.num_classes)
    return jnp.full(z.shape[: z.ndim - len(vae.latent_shape) - 1], value)


def _log_posterior(vae: GumbelVae, q: Array, z: Array) -> Array:
    """log q(z | x) of one-hot z."""
    log_prob = categorical.log_prob(jnp.argmax(z, axis=-1), q)
    return jnp.sum(log_prob, axis=tuple(range(-len(vae.latent_shape), 0)))


def logits_of(vae: GumbelVae, params: Params, state: State, x: Array) -> Array:
    """Compute the posterior's logits.

    Args:
        vae: the networks.
        params: of the model, by part.
        state: of the model, by part.
        x: [B, H, W, C].

    Returns:
        [B, *G, K].
    """
    return _posterior(vae, params, state, x, train=False)[0]


def kl_to_prior(vae: GumbelVae, logits: Array) -> Array:
    """Compute the KL of the posterior to the uniform prior.

    Args:
        vae: the networks.
        logits: of the posterior, [B, *G, K].

    Returns:
        [B] in nats, summed over the variables.
    """
    by_variable = categorical.kl_to_uniform(logits)
    return jnp.sum(by_variable, axis=tuple(range(1, 1 + len(vae.latent_shape))))


def init_of(key: Key, vae: GumbelVae, image_shape: tuple[int, int, int]) -> tuple[Params, State]:
    """Initialize encoder and decoder.

    Args:
        key: of the parameters.
        vae: the networks.
        image_shape: (H, W, C) of an example.

    Returns:
        (params, state), both by part.

    Raises:
        ConfigError: `key` is not one key, or the shapes do not fit each other or the image.
    """
    key_encoder, key_decoder = jax.random.split(checks.one_key(key))
    keys = {ENCODER: key_encoder, DECODER: key_decoder}
    x = jnp.zeros((2, *image_shape))
    z = jnp.zeros((2, *vae.latent_shape, vae.num_classes))
    networks = {ENCODER: vae.encoder, DECODER: vae.decoder}
    params, state = parts.init_parts(keys, networks, {ENCODER: x, DECODER: z})
    shape = parts.output_of(vae.encoder, ENCODER, params, state, x).shape
    reason = f"latent_shape and num_classes say {z.shape[1:]}"
    parts.require_shape("the encoder gives logits", shape, z.shape, reason)
    parts.require_images(vae.latent_model(), params, state, z, x)
    return params, state


def gumbel_vae(
    vae: GumbelVae,
    image_shape: tuple[int, int, int],
    *,
    estimator: str = "gumbel_softmax",
    temperature: Callable[[Array], Array] = sampling.temperature.constant,
    num_samples: int | None = None,
) -> Model:
    """Make the model and its one player, "vae", which minimizes the negative bound.

    Estimators treat one example at a time, so the decoder can have dropout but no statistics of a
    batch: a decoder with state is refused. The encoder sees the whole batch and may have state.
    (`discrete_vae` decodes the whole batch at once.)

    Args:
        vae: the networks.
        image_shape: (H, W, C) of an example.
        estimator: a name of `sampling.estimators.ESTIMATORS`.
        temperature: `step -> tau`, for estimators that have one.
        num_samples: draws per example; None for the smallest number the estimator needs.

    Returns:
        The model. Its loss is in nats, a mean over examples. Metrics: `elbo` (for estimators that
        relax, of the relaxed model), `kl`, `temperature`.

    Raises:
        ConfigError: an unknown name; from `init`, parts that do not fit, or a decoder with state.
    """
    lookup(ESTIMATORS, estimator, "gradient estimator")
    image_shape = checks.sizes(image_shape, "image_shape")
    lookup(likelihoods.LIKELIHOODS, vae.likelihood, "likelihood")
    densities = vae.latent_model()
    fixed: dict[str, Any] = {} if num_samples is None else {"num_samples": num_samples}

    def init(key: Key) -> tuple[Params, State]:
        params, state = init_of(key, vae, image_shape)
        require_stateless("a VAE with categorical latents", {DECODER: state[DECODER]})
        return params, state

    def loss(params: Params, state: State, batch: PyTree, key: Key) -> tuple[Array, Aux]:
        tau = temperature(batch["step"])
        options = dict(fixed)
        if estimator in HAS_TEMPERATURE:
            options["temperature"] = tau
        key_encoder = named_key(key, "encoder dropout")
        logits, moved = densities.posterior(params, state, batch["x"], train=True, key=key_encoder)

        def expected_log_x(key: Key, logits: Array, x: Array) -> Array:
            dropout = named_key(key, "decoder dropout")

            def log_x_of(z: Array) -> Array:
                return densities.log_likelihood(params, state, z, x, train=True, key=dropout)[0]

            return expectation(estimator, key, log_x_of, logits, **options)

        keys = jax.random.split(key, logits.shape[0])
        log_x = jax.vmap(expected_log_x)(keys, logits, batch["x"])
        terms = elbo(log_x, kl_to_prior(vae, logits))
        metrics = {"elbo": jnp.mean(terms.elbo), "kl": jnp.mean(terms.kl), "temperature": tau}
        return -jnp.mean(terms.elbo), Aux(moved, metrics)

    checked = parts.checked_batch(loss, densities.name, x=image_shape, step=None)
    return latent.model_of(densities, init, {"vae": Player(densities.parts, checked)})
