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
from dgm_jax.core import Array, Aux, Key, Model, Network, Player, lookup, require
from dgm_jax.densities import categorical
from dgm_jax.models import likelihoods
from dgm_jax.models.likelihoods import LIKELIHOODS
from dgm_jax.models.stateless import require_stateless
from dgm_jax.objectives.elbo import ElboTerms, elbo
from dgm_jax.sampling.estimators import ESTIMATORS, HAS_TEMPERATURE, expectation

ENCODER, DECODER = "encoder", "decoder"


class GumbelVae(NamedTuple):
    """What the functions below need to know about one model; its networks have no state.

    encoder: `x [B, H, W, C] -> logits [B, *G, K]`. decoder: `z [B, *G, K] -> [B, H, W, F]`.
    latent_shape: *G, such as (20,) or a grid (7, 7). num_classes: K. likelihood: a name of
        `models.likelihoods.LIKELIHOODS`.
    """

    encoder: Network
    decoder: Network
    latent_shape: tuple[int, ...]
    num_classes: int
    likelihood: str = "bernoulli"


def logits_of(vae: GumbelVae, params, state, x: Array) -> Array:
    """Posterior logits [B, *G, K] of x [B, H, W, C]."""
    return vae.encoder.apply(params[ENCODER], state[ENCODER], x, train=False)[0]


def log_likelihood(vae: GumbelVae, params, state, z: Array, x: Array) -> Array:
    """log p(x | z), summed over pixels: z [*B, *G, K] (one-hot or relaxed), x [H, W, C] or [*B, H,
    W, C] -> [*B]."""
    where = params[DECODER], state[DECODER], z, x, len(vae.latent_shape) + 1
    return likelihoods.log_likelihood_of_latents(vae.likelihood, vae.decoder, *where)


def kl_to_prior(vae: GumbelVae, logits: Array) -> Array:
    """KL of the posterior to the uniform prior, summed over the variables: [B] in nats."""
    return jnp.sum(
        categorical.kl_to_uniform(logits), axis=tuple(range(1, 1 + len(vae.latent_shape)))
    )


def log_weights(key: Key, vae: GumbelVae, params, state, x: Array, num_samples: int) -> Array:
    """log p(x, z) - log q(z | x) for hard draws z ~ q: [num_samples, B], nats. With them the bound
    of Burda et al."""
    logits = logits_of(vae, params, state, x)
    codes = sampling.gumbel_max(key, jnp.broadcast_to(logits, (num_samples, *logits.shape)))
    log_q = jnp.sum(categorical.log_prob(codes, logits), axis=tuple(range(2, codes.ndim)))
    log_prior = -math.prod(vae.latent_shape) * math.log(vae.num_classes)
    z = jax.nn.one_hot(codes, vae.num_classes)
    return log_likelihood(vae, params, state, z, x) + log_prior - log_q


def bounds(key: Key, vae: GumbelVae, params, state, x: Array, temperature) -> dict[str, ElboTerms]:
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
    vae: GumbelVae, params, state, x: Array, max_configurations: int = 4096
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
    one = lambda image: (
        jax.nn.logsumexp(log_likelihood(vae, params, state, z, image)) - math.log(total)
    )
    return jax.lax.map(one, x)


def decode(vae: GumbelVae, params, state, z: Array) -> Array:
    """The images [B, H, W, C] in [0, 1] shown for z [B, *G, K]."""
    out, _ = vae.decoder.apply(params[DECODER], state[DECODER], z, train=False)
    return likelihoods.shown(vae.likelihood, out)


def init_of(key: Key, vae: GumbelVae, image_shape: tuple[int, int, int]):
    """(params, state) of encoder and decoder; ConfigError where their shapes do not fit each other
    or the image, and for a network with state."""
    key_q, key_p = jax.random.split(key)
    x, z = jnp.zeros((2, *image_shape)), jnp.zeros((2, *vae.latent_shape, vae.num_classes))
    params_q, state_q = vae.encoder.init(key_q, x)
    params_p, state_p = vae.decoder.init(key_p, z)
    params, state = {ENCODER: params_q, DECODER: params_p}, {ENCODER: state_q, DECODER: state_p}
    require_stateless("a VAE with categorical latents", state)
    found = jax.eval_shape(lambda: logits_of(vae, params, state, x)).shape
    require(
        found == z.shape,
        f"the encoder gives logits {found[1:]}, but latent_shape and num_classes say {z.shape[1:]}",
    )
    shown = jax.eval_shape(lambda: decode(vae, params, state, z)).shape
    require(
        shown == x.shape, f"the decoder gives images {shown[1:]}, but examples are {x.shape[1:]}"
    )
    return params, state


def sample_of(key: Key, vae: GumbelVae, params, state, num: int) -> Array:
    """Images decoded from the uniform prior."""
    codes = sampling.gumbel_max(key, jnp.zeros((num, *vae.latent_shape, vae.num_classes)))
    return decode(vae, params, state, jax.nn.one_hot(codes, vae.num_classes))


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

    estimator: a name of `sampling.estimators.ESTIMATORS`. temperature: `step -> tau`, used where
        the estimator has one.
    num_samples: draws an example; None for the estimator's own least number.

    Metrics: `elbo` (for estimators that relax, of the relaxed model), `kl`, `temperature`.
    """
    estimate = lookup(ESTIMATORS, estimator, "gradient estimator")
    lookup(LIKELIHOODS, vae.likelihood, "likelihood")
    fixed = {} if num_samples is None else {"num_samples": num_samples}

    def loss(params, state, batch, key):
        tau = temperature(batch["step"])
        options = fixed | ({"temperature": tau} if estimator in HAS_TEMPERATURE else {})
        logits = logits_of(vae, params, state, batch["x"])

        def one(key, logits, x):
            objective = functools.partial(log_likelihood, vae, params, state, x=x)
            return expectation(estimate, key, objective, logits, **options)

        keys = jax.random.split(key, logits.shape[0])
        terms = elbo(jax.vmap(one)(keys, logits, batch["x"]), kl_to_prior(vae, logits))
        metrics = {"elbo": jnp.mean(terms.elbo), "kl": jnp.mean(terms.kl), "temperature": tau}
        return -jnp.mean(terms.elbo), Aux(state, metrics)

    return Model(
        lambda key: init_of(key, vae, image_shape),
        {"vae": Player((ENCODER, DECODER), loss)},
        lambda params, state, key, num: sample_of(key, vae, params, state, num),
        functools.partial(decode, vae),
    )
