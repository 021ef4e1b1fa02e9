"""A VAE with categorical latents, trained by any gradient estimator.

    log p(x) >= E_q(z|x) [log p(x | z)] - sum_i KL(q(z_i | x) || uniform over K)

z is an array of independent one-hot variables of K classes. The first term's gradient in the
encoder's logits comes from `sampling.estimators.ESTIMATORS` (Gumbel-softmax: Jang et al. 2017,
Maddison et al. 2017); the second is analytic. A batch is `{"x": [B, ...], "step": int32[]}`: the
temperature is a function of the step.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

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
    State,
    checks,
    log_mean_exp,
    lookup,
    named_key,
    require,
)
from dgm_jax.densities import categorical
from dgm_jax.models import latent, likelihoods, parts
from dgm_jax.models.latent import decode, log_likelihood, log_weights
from dgm_jax.models.stateless import require_stateless
from dgm_jax.objectives.elbo import ElboTerms, elbo
from dgm_jax.sampling.estimators import ESTIMATORS, HAS_TEMPERATURE, expectation

__all__ = [
    "DECODER",
    "ENCODER",
    "GumbelVae",
    "decode",
    "exact_log_prob",
    "gumbel_bounds",
    "gumbel_vae",
    "init_of",
    "kl_to_prior",
    "log_likelihood",
    "log_weights",
    "logits_of",
]

ENCODER, DECODER = "encoder", "decoder"


class GumbelVae(NamedTuple):
    """The networks of one model; the functions of `models.latent` take it.

    encoder: `x [B, H, W, C] -> logits [B, *G, K]`. decoder: `z [B, *G, K] -> [B, H, W, F]`.
    latent_shape: *G, such as (20,) or a grid (7, 7). num_classes: K. likelihood: a name of
        `models.likelihoods.LIKELIHOODS`.
    """

    encoder: Network
    decoder: Network
    latent_shape: tuple[int, ...]
    num_classes: int
    likelihood: str = "bernoulli"

    def latent_model(self) -> LatentModel:
        """Its densities; q is the logits [B, *G, K], draws are one-hot and differentiable in
        nothing."""
        checks.network(self.encoder, "encoder")
        checks.network(self.decoder, "decoder")
        event = len(checks.sizes(self.latent_shape, "latent_shape")) + 1
        likelihood, shown = likelihoods.of_decoder(self.likelihood, self.decoder, DECODER, event)
        return LatentModel(
            name="a VAE with categorical latents",
            parts=(ENCODER, DECODER),
            posterior=functools.partial(_posterior, self),
            sample_posterior=functools.partial(_sample_posterior, self),
            log_likelihood=likelihood,
            sample_prior=functools.partial(_sample_prior, self),
            decode=shown,
            log_prior=functools.partial(_log_prior, self),
            log_posterior=functools.partial(_log_posterior, self),
            rate=lambda params, state, q: categorical.kl_to_uniform(q),
            reparameterized=False,
        )


def _posterior(vae: GumbelVae, params, state, x, /, *, train, key=None) -> tuple[Array, State]:
    logits, moved = vae.encoder.apply(params[ENCODER], state[ENCODER], x, train=train, key=key)
    return logits, {**state, ENCODER: moved}


def _sample_posterior(vae: GumbelVae, key: Key, q: Array, num_samples: int | None = None) -> Array:
    logits = q if num_samples is None else jnp.broadcast_to(q, (num_samples, *q.shape))
    return jax.nn.one_hot(sampling.gumbel_max(key, logits), vae.num_classes)


def _sample_prior(vae: GumbelVae, params, state, key: Key, num_samples: int) -> Array:
    even = jnp.zeros((num_samples, *vae.latent_shape, vae.num_classes))
    return _sample_posterior(vae, key, even)


def _log_prior(vae: GumbelVae, params, state, z: Array) -> Array:
    value = -math.prod(vae.latent_shape) * math.log(vae.num_classes)
    return jnp.full(z.shape[: z.ndim - len(vae.latent_shape) - 1], value)


def _log_posterior(vae: GumbelVae, q: Array, z: Array) -> Array:
    """Of one-hot z."""
    log_prob = categorical.log_prob(jnp.argmax(z, axis=-1), q)
    return jnp.sum(log_prob, axis=tuple(range(-len(vae.latent_shape), 0)))


def logits_of(vae: GumbelVae, params: Params, state: State, x: Array) -> Array:
    """Posterior logits [B, *G, K] of x [B, H, W, C]."""
    return _posterior(vae, params, state, x, train=False)[0]


def kl_to_prior(vae: GumbelVae, logits: Array) -> Array:
    """KL of the posterior to the uniform prior, summed over the variables: [B] in nats."""
    by_variable = categorical.kl_to_uniform(logits)
    return jnp.sum(by_variable, axis=tuple(range(1, 1 + len(vae.latent_shape))))


def gumbel_bounds(
    key: Key, vae: GumbelVae, params: Params, state: State, x: Array, temperature
) -> dict[str, ElboTerms]:
    """Per example [B], nats: "hard" with one hard draw, a bound; "relaxed" with a Gumbel-softmax
    draw of the same noise at the temperature, which is not. Their difference is the relaxation
    gap."""
    logits = logits_of(vae, params, state, x)
    kl = kl_to_prior(vae, logits)
    perturbed = sampling.perturbed_logits(key, logits)
    hard = jax.nn.one_hot(jnp.argmax(perturbed, axis=-1), vae.num_classes)
    soft = jax.nn.softmax(perturbed / temperature)
    return {
        name: elbo(log_likelihood(vae, params, state, z, x), kl)
        for name, z in (("hard", hard), ("relaxed", soft))
    }


def exact_log_prob(
    vae: GumbelVae, params: Params, state: State, x: Array, max_configurations: int = 4096
) -> Array:
    """log p(x) = log sum_z p(z) p(x | z) by enumeration of all K^N latents: x [B, H, W, C] -> [B],
    nats."""
    num_variables = math.prod(vae.latent_shape)
    total = vae.num_classes**num_variables
    require(
        total <= max_configurations,
        f"{vae.num_classes}^{num_variables} = {total} latents are more than "
        f"max_configurations={max_configurations}",
    )
    codes = jnp.stack(
        jnp.unravel_index(jnp.arange(total), (vae.num_classes,) * num_variables), axis=-1
    )
    z = jax.nn.one_hot(codes.reshape(total, *vae.latent_shape), vae.num_classes)
    one = lambda image: log_mean_exp(log_likelihood(vae, params, state, z, image)).value
    return jax.lax.map(one, x)


def init_of(key: Key, vae: GumbelVae, image_shape: tuple[int, int, int]) -> tuple[Params, State]:
    """(params, state) of encoder and decoder; ConfigError where their shapes do not fit each other
    or the image."""
    keys: dict[str, Key] = dict(
        zip((ENCODER, DECODER), jax.random.split(checks.one_key(key)), strict=True)
    )
    x, z = jnp.zeros((2, *image_shape)), jnp.zeros((2, *vae.latent_shape, vae.num_classes))
    networks = {ENCODER: vae.encoder, DECODER: vae.decoder}
    params, state = parts.init_parts(keys, networks, {ENCODER: x, DECODER: z})
    found = parts.output_of(vae.encoder, ENCODER, params, state, x).shape
    told = f"latent_shape and num_classes say {z.shape[1:]}"
    parts.require_shape("the encoder gives logits", found, z.shape, told)
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
    """The model and its one player, who minimises the negative bound in nats, the mean over
    examples.

    Estimators look at one example at a time, so a decoder can have dropout but no statistics of a
    batch: one with state is refused. The encoder sees the whole batch and may have them.
    (`discrete_vae` decodes the whole batch at once.)

    Args:
      vae: the networks.
      image_shape: (H, W, C) of an example.
      estimator: a name of `sampling.estimators.ESTIMATORS`.
      temperature: `step -> tau`, used where the estimator has one.
      num_samples: draws an example; None for the estimator's own least number.

    Returns:
      The model. Metrics: `elbo` (for estimators that relax, of the relaxed model), `kl`,
      `temperature`.

    Raises:
      ConfigError: an unknown name; from `init`, parts that do not fit, or a decoder with state.
    """
    lookup(ESTIMATORS, estimator, "gradient estimator")
    image_shape = checks.sizes(image_shape, "image_shape")
    lookup(likelihoods.LIKELIHOODS, vae.likelihood, "likelihood")
    densities = vae.latent_model()
    fixed = {} if num_samples is None else {"num_samples": num_samples}

    def init(key):
        params, state = init_of(key, vae, image_shape)
        require_stateless("a VAE with categorical latents", {DECODER: state[DECODER]})
        return params, state

    def loss(params, state, batch, key):
        tau = temperature(batch["step"])
        options = fixed | ({"temperature": tau} if estimator in HAS_TEMPERATURE else {})
        key_encoder = named_key(key, "encoder dropout")
        logits, moved = densities.posterior(params, state, batch["x"], train=True, key=key_encoder)

        def one(key, logits, x):
            dropout = named_key(key, "decoder dropout")
            objective = lambda z: densities.log_likelihood(
                params, state, z, x, train=True, key=dropout
            )[0]
            return expectation(estimator, key, objective, logits, **options)

        keys = jax.random.split(key, logits.shape[0])
        terms = elbo(jax.vmap(one)(keys, logits, batch["x"]), kl_to_prior(vae, logits))
        metrics = {"elbo": jnp.mean(terms.elbo), "kl": jnp.mean(terms.kl), "temperature": tau}
        return -jnp.mean(terms.elbo), Aux(moved, metrics)

    checked = parts.checked_batch(loss, densities.name, x=image_shape, step=None)
    return latent.model_of(densities, init, {"vae": Player(densities.parts, checked)})
