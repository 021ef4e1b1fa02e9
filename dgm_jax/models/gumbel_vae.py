"""A VAE with categorical latents, trained by any gradient estimator.

    log p(x) >= E_q(z|x) [log p(x | z)] - sum_i KL(q(z_i | x) || uniform over K)

z is an array of N independent one-hot variables of K classes. The first term's gradient in the encoder's logits comes
from `sampling.estimators.ESTIMATORS` (Gumbel-softmax: Jang et al. 2017, Maddison et al. 2017); the second is analytic.
A batch is `{"x": [B, ...], "step": int32[]}`: the temperature is a function of the step.
"""

import functools
import math
from typing import Callable, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax import sampling
from dgm_jax.core import Array, Aux, Key, Model, Network, Player, lookup, require
from dgm_jax.densities import bernoulli, categorical
from dgm_jax.objectives.elbo import ElboTerms, elbo
from dgm_jax.sampling.estimators import ESTIMATORS, HAS_TEMPERATURE, expectation

ENCODER, DECODER = "encoder", "decoder"


class GumbelVae(NamedTuple):
    """What the functions below need to know about one model.

    encoder: `x [B, D] -> logits [B, N K]`. decoder: `z [B, N K] -> Bernoulli logits [B, D]`.
    """

    encoder: Network
    decoder: Network
    num_variables: int
    num_classes: int
    num_pixels: int


def flatten(x: Array) -> Array:
    """Examples [B, ...] as vectors [B, D]."""
    return x.reshape(x.shape[0], -1)


def logits_of(vae: GumbelVae, params, state, x: Array) -> Array:
    """Posterior logits [B, N, K] of x [B, D]."""
    logits, _ = vae.encoder.apply(params[ENCODER], state[ENCODER], x, train=False)
    return logits.reshape(-1, vae.num_variables, vae.num_classes)


def log_likelihood(vae: GumbelVae, params, state, z: Array, x: Array) -> Array:
    """log p(x | z), summed over pixels: z [*B, N, K] (one-hot or relaxed), x [D] or [*B, D] -> [*B]."""
    flat = z.reshape(-1, vae.num_variables * vae.num_classes)
    logits, _ = vae.decoder.apply(params[DECODER], state[DECODER], flat, train=False)
    return jnp.sum(bernoulli.log_prob(x, logits.reshape(*z.shape[:-2], vae.num_pixels)), axis=-1)


def log_weights(key: Key, vae: GumbelVae, params, state, x: Array, num_samples: int) -> Array:
    """log p(x, z) - log q(z | x) for hard draws z ~ q: [num_samples, B], nats. With them the bound of Burda et al."""
    logits = logits_of(vae, params, state, x)
    codes = sampling.gumbel_max(key, jnp.broadcast_to(logits, (num_samples, *logits.shape)))
    log_q = jnp.sum(categorical.log_prob(codes, logits), axis=-1)
    log_prior = -vae.num_variables * jnp.log(vae.num_classes)
    z = jax.nn.one_hot(codes, vae.num_classes)
    return log_likelihood(vae, params, state, z, x) + log_prior - log_q


def bounds(key: Key, vae: GumbelVae, params, state, x: Array, temperature) -> dict[str, ElboTerms]:
    """Per example [B], nats: "hard" with one hard draw, a bound; "relaxed" with a Gumbel-softmax draw of the same noise
    at the temperature, which is not. Their difference is the relaxation gap."""
    logits = logits_of(vae, params, state, x)
    kl = jnp.sum(categorical.kl_to_uniform(logits), axis=-1)
    perturbed = sampling.perturbed_logits(key, logits)
    hard = jax.nn.one_hot(jnp.argmax(perturbed, axis=-1), vae.num_classes)
    soft = jax.nn.softmax(perturbed / temperature)
    return {name: elbo(log_likelihood(vae, params, state, z, x), kl) for name, z in (("hard", hard), ("relaxed", soft))}


def exact_log_prob(vae: GumbelVae, params, state, x: Array, max_configurations: int = 4096) -> Array:
    """log p(x) = log sum_z p(z) p(x | z) by enumeration of all K^N latents: x [B, D] -> [B], nats."""
    total = vae.num_classes**vae.num_variables
    require(total <= max_configurations, f"{vae.num_classes}^{vae.num_variables} = {total} latents are more than "
            f"max_configurations={max_configurations}")
    codes = jnp.stack(jnp.unravel_index(jnp.arange(total), (vae.num_classes,) * vae.num_variables), axis=-1)
    z = jax.nn.one_hot(codes, vae.num_classes)
    one = lambda row: jax.nn.logsumexp(log_likelihood(vae, params, state, z, row)) - jnp.log(total)
    return jax.lax.map(one, x)


def gumbel_vae(
    vae: GumbelVae,
    example_shape: tuple[int, ...],
    *,
    estimator: str = "gumbel_softmax",
    temperature: Callable[[Array], Array] = sampling.temperature.constant,
    num_samples: int | None = None,
) -> Model:
    """The model and its one player, who minimises the negative bound in nats, the mean over examples.

    estimator: a name of `sampling.estimators.ESTIMATORS`. temperature: `step -> tau`, used where the estimator has one.
    num_samples: draws an example; None for the estimator's own least number.

    Metrics: `elbo` (for estimators that relax, of the relaxed model), `kl`, `temperature`.
    """
    estimate = lookup(ESTIMATORS, estimator, "gradient estimator")
    size = math.prod(example_shape)
    require(size == vae.num_pixels, f"examples {example_shape} have {size} pixels, the decoder {vae.num_pixels}")
    fixed = {} if num_samples is None else {"num_samples": num_samples}

    def init(key):
        key_q, key_p = jax.random.split(key)
        params_q, state_q = vae.encoder.init(key_q, jnp.zeros((2, vae.num_pixels)))
        params_p, state_p = vae.decoder.init(key_p, jnp.zeros((2, vae.num_variables * vae.num_classes)))
        return {ENCODER: params_q, DECODER: params_p}, {ENCODER: state_q, DECODER: state_p}

    def loss(params, state, batch, key):
        tau = temperature(batch["step"])
        options = fixed | ({"temperature": tau} if estimator in HAS_TEMPERATURE else {})
        x = flatten(batch["x"])
        logits = logits_of(vae, params, state, x)

        def one(key, logits, x):
            objective = functools.partial(log_likelihood, vae, params, state, x=x)
            return expectation(estimate, key, objective, logits, **options)

        keys = jax.random.split(key, logits.shape[0])
        terms = elbo(jax.vmap(one)(keys, logits, x), jnp.sum(categorical.kl_to_uniform(logits), axis=-1))
        metrics = {"elbo": jnp.mean(terms.elbo), "kl": jnp.mean(terms.kl), "temperature": tau}
        return -jnp.mean(terms.elbo), Aux(state, metrics)

    def decode(params, state, z):
        logits, _ = vae.decoder.apply(params[DECODER], state[DECODER], flatten(z), train=False)
        return jax.nn.sigmoid(logits).reshape(-1, *example_shape)

    def sample(params, state, key, num):
        codes = sampling.gumbel_max(key, jnp.zeros((num, vae.num_variables, vae.num_classes)))
        return decode(params, state, jax.nn.one_hot(codes, vae.num_classes))

    return Model(init, {"vae": Player((ENCODER, DECODER), loss)}, sample, decode)
