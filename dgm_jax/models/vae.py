"""A VAE with a Gaussian posterior, under any prior.

    log p(x) >= E_q(z|x) [log p(x | z) + log p(z)] + H(q(. | x)),
    q(z | x) = N(loc(x), diag(scale(x))^2)

Kingma and Welling 2014, with the prior of `priors` that is asked for: standard normal, a learned
mixture, VampPrior, a flow. The entropy is analytic; log p(x | z) and log p(z) are one draw, so
every prior is treated alike. A batch is `{"x": [B, H, W, C], "step": int32[]}`: beta is a function
of the step.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax import sampling
from dgm_jax.core import Array, Aux, Key, Model, Network, Player, Prior, lookup, require
from dgm_jax.densities import gaussian
from dgm_jax.models import likelihoods
from dgm_jax.models.stateless import require_stateless
from dgm_jax.objectives.elbo import ElboTerms, elbo
from dgm_jax.priors import require_density

ENCODER, DECODER, PRIOR = "encoder", "decoder", "prior"
# of |log scale| of the posterior: part of the model, far from what data ask for
LOG_SCALE_LIMIT = 7.0


class Vae(NamedTuple):
    """What the functions below need to know about one model; its networks have no state.

    encoder: `x [B, H, W, C] -> [B, 2 D]`, location and log-scale. decoder:
        `z [B, D] -> [B, H, W, F]`.
    prior: a `Prior` over z; or, for one that looks at the encoder (VampPrior), what makes it from
        the encoder as a function `x -> (loc, scale)`.
    likelihood: a name of `models.likelihoods.LIKELIHOODS`.
    """

    encoder: Network
    decoder: Network
    latent_size: int
    prior: Prior | Callable[[Callable], Prior]
    likelihood: str = "bernoulli"


def posterior(vae: Vae, params, state, x: Array) -> tuple[Array, Array]:
    """(loc, scale) of q(z | x), [B, D] each."""
    out, _ = vae.encoder.apply(params[ENCODER], state[ENCODER], x, train=False)
    loc, log_scale = jnp.split(out, 2, axis=-1)
    return loc, jnp.exp(jnp.clip(log_scale, -LOG_SCALE_LIMIT, LOG_SCALE_LIMIT))


def prior_of(vae: Vae, params, state) -> Prior:
    """The prior, which knows the present encoder if it wants to."""
    if not callable(vae.prior):
        return vae.prior
    return vae.prior(functools.partial(posterior, vae, params, state))


def log_prior(vae: Vae, params, state, z: Array) -> Array:
    """log p(z): [*B, D] -> [*B], nats."""
    return prior_of(vae, params, state).log_prob(params[PRIOR], z)


def log_likelihood(vae: Vae, params, state, z: Array, x: Array) -> Array:
    """log p(x | z), summed over pixels: z [*B, D], x [H, W, C] or [*B, H, W, C] -> [*B], nats."""
    where = params[DECODER], state[DECODER], z, x
    return likelihoods.log_likelihood_of_latents(vae.likelihood, vae.decoder, *where)


def log_joint(vae: Vae, params, state, z: Array, x: Array) -> Array:
    """log p(x, z), shapes as in `log_likelihood`."""
    return log_likelihood(vae, params, state, z, x) + log_prior(vae, params, state, z)


def terms(key: Key, vae: Vae, params, state, x: Array, beta: Array | float = 1.0) -> ElboTerms:
    """The bound of each example and its terms, [B] nats, from one draw of z; kl is -H(q) - log
    p(z)."""
    loc, scale = posterior(vae, params, state, x)
    z = sampling.gaussian(key, loc, scale)
    kl = -jnp.sum(gaussian.entropy(scale), axis=-1) - log_prior(vae, params, state, z)
    return elbo(log_likelihood(vae, params, state, z, x), kl, beta)


def log_weights(key: Key, vae: Vae, params, state, x: Array, num_samples: int) -> Array:
    """log p(x, z) - log q(z | x) for draws z ~ q: [num_samples, B], nats."""
    loc, scale = posterior(vae, params, state, x)
    z = sampling.gaussian(key, jnp.broadcast_to(loc, (num_samples, *loc.shape)), scale)
    log_q = jnp.sum(gaussian.log_prob(z, loc, scale), axis=-1)
    return log_joint(vae, params, state, z, x) - log_q


def decode(vae: Vae, params, state, z: Array) -> Array:
    """The images [B, H, W, C] in [0, 1] shown for z [B, D]."""
    out, _ = vae.decoder.apply(params[DECODER], state[DECODER], z, train=False)
    return likelihoods.shown(vae.likelihood, out)


def init_of(key: Key, vae: Vae, image_shape: tuple[int, int, int]):
    """(params, state) of encoder, decoder and prior; ConfigError where shapes do not fit each other
    or the image, and for a network with state."""
    key_q, key_p, key_prior = jax.random.split(key, 3)
    x, z = jnp.zeros((2, *image_shape)), jnp.zeros((2, vae.latent_size))
    params_q, state_q = vae.encoder.init(key_q, x)
    params_p, state_p = vae.decoder.init(key_p, z)
    params, state = {ENCODER: params_q, DECODER: params_p}, {ENCODER: state_q, DECODER: state_p}
    require_stateless("a VAE", state)
    found = jax.eval_shape(lambda: vae.encoder.apply(params_q, state_q, x, train=False)[0]).shape
    require(
        found == (2, 2 * vae.latent_size),
        f"the encoder gives {found[1:]}, but latent_size={vae.latent_size} needs "
        f"({2 * vae.latent_size},): locations and log-scales",
    )
    shown = jax.eval_shape(lambda: decode(vae, params, state, z)).shape
    require(
        shown == x.shape, f"the decoder gives images {shown[1:]}, but examples are {x.shape[1:]}"
    )
    prior = prior_of(vae, params, state)
    params_prior = prior.init(key_prior)
    require_density(prior, params_prior, vae.latent_size, "a VAE")
    return params | {PRIOR: params_prior}, state | {PRIOR: {}}


def sample_of(key: Key, vae: Vae, params, state, num: int) -> Array:
    """Images [num, H, W, C] decoded from the prior."""
    return decode(vae, params, state, prior_of(vae, params, state).sample(params[PRIOR], key, num))


def vae(
    recipe: Vae,
    image_shape: tuple[int, int, int],
    *,
    beta: Callable[[Array], Array | float] = lambda step: 1.0,
) -> Model:
    """The model and its one player, who minimises the negative bound in nats, the mean over
    examples.

    beta: `step -> factor on the KL`, such as `partial(objectives.elbo.warm_up, num_steps=n)`.

    Metrics: `elbo`, `log_likelihood`, `kl`, of the bound at beta = 1.
    """
    lookup(likelihoods.LIKELIHOODS, recipe.likelihood, "likelihood")
    require(recipe.latent_size >= 1, f"latent_size must be at least 1, got {recipe.latent_size}")
    require(math.prod(image_shape) >= 1, f"image_shape must be (H, W, C), got {image_shape}")

    def loss(params, state, batch, key):
        found = terms(key, recipe, params, state, batch["x"], beta(batch["step"]))
        plain = {"log_likelihood": jnp.mean(found.log_likelihood), "kl": jnp.mean(found.kl)}
        metrics = {"elbo": plain["log_likelihood"] - plain["kl"], **plain}
        return -jnp.mean(found.elbo), Aux(state, metrics)

    return Model(
        lambda key: init_of(key, recipe, image_shape),
        {"vae": Player((ENCODER, DECODER, PRIOR), loss)},
        lambda params, state, key, num: sample_of(key, recipe, params, state, num),
        functools.partial(decode, recipe),
    )
