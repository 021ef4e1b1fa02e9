"""A VAE with a Gaussian posterior, under any prior.

    log p(x) >= E_q(z|x) [log p(x | z) + log p(z)] + H(q(. | x)),
    q(z | x) = N(loc(x), diag(scale(x))^2)

Kingma and Welling 2014, with any prior of `priors`: standard normal, a learned mixture, VampPrior,
a flow. The entropy is analytic, and log p(x | z) and log p(z) are estimated from one draw, so all
priors are treated in the same way. Other bounds, more draws and free bits are arguments. A batch is
`{"x": [B, H, W, C], "step": int32[]}`; beta is a function of the step.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import (
    Array,
    Key,
    LatentModel,
    Model,
    Network,
    Params,
    Player,
    Prior,
    State,
    checks,
    lookup,
)
from dgm_jax.densities import gaussian
from dgm_jax.models import latent, likelihoods, parts
from dgm_jax.models.latent import (
    decode,
    log_joint,
    log_likelihood,
    log_prior,
    log_weights,
    posterior,
    terms,
)
from dgm_jax.models.posteriors import Gaussian, sample_gaussian
from dgm_jax.objectives.path_derivatives import gaussian_log_q

__all__ = [
    "DECODER",
    "ENCODER",
    "LOG_SCALE_LIMIT",
    "PRIOR",
    "Vae",
    "decode",
    "log_joint",
    "log_likelihood",
    "log_prior",
    "log_weights",
    "posterior",
    "prior_of",
    "terms",
    "vae",
]

ENCODER = "encoder"
DECODER = "decoder"
PRIOR = "prior"
# Largest |log scale| of the posterior. It is part of the model, and far from what data need.
LOG_SCALE_LIMIT = 7.0


class Vae(NamedTuple):
    """The networks and the prior of one model; the functions of `models.latent` take it.

    Attributes:
        encoder: `x [B, H, W, C] -> [B, 2 D]`, location and log-scale.
        decoder: `z [B, D] -> [B, H, W, F]`.
        latent_size: D.
        prior: a `Prior` over z; or, for a prior that depends on the encoder (VampPrior), a function
            that makes it from the encoder `x -> (loc, scale)`, which is always in its inference
            form.
        likelihood: a name of `models.likelihoods.LIKELIHOODS`.
    """

    encoder: Network
    decoder: Network
    latent_size: int
    prior: Prior | Callable[[Callable], Prior]
    likelihood: str = "bernoulli"

    def latent_model(self) -> LatentModel:
        """Return its densities, where q is (loc, scale).

        The rate has a closed form if the prior has one and is not made from the encoder.
        """
        checks.network(self.encoder, "encoder")
        checks.network(self.decoder, "decoder")
        parts.require_prior(self.prior, self.latent_size, from_encoder=True)
        log_likelihood_of, decode_of = likelihoods.of_decoder(self.likelihood, self.decoder)
        kl = None if callable(self.prior) else getattr(self.prior, "kl_from_gaussian", None)
        return LatentModel(
            name="a VAE",
            parts=(ENCODER, DECODER, PRIOR),
            posterior=functools.partial(_posterior, self),
            sample_posterior=sample_gaussian,
            log_likelihood=log_likelihood_of,
            sample_prior=functools.partial(_sample_prior, self),
            decode=decode_of,
            log_prior=functools.partial(_log_prior, self),
            log_posterior=gaussian_log_q,
            entropy=lambda q: gaussian.entropy(q.scale),
            rate=None if kl is None else lambda params, state, q: kl(params[PRIOR], *q),
        )


def prior_of(vae: Vae, params: Params, state: State) -> Prior:
    """Return the prior, bound to the current encoder if it depends on it.

    Args:
        vae: networks and prior.
        params: of the model, by part.
        state: of the model, by part.

    Returns:
        The prior; its parameters are the part "prior".
    """
    if not callable(vae.prior):
        return vae.prior
    return vae.prior(lambda x: _posterior(vae, params, state, x, train=False)[0])


def _posterior(
    vae: Vae,
    params: Params,
    state: State,
    x: Array,
    /,
    *,
    train: bool,
    key: Key | None = None,
) -> tuple[Gaussian, State]:
    out, moved = vae.encoder.apply(params[ENCODER], state[ENCODER], x, train=train, key=key)
    loc, log_scale = jnp.split(out, 2, axis=-1)
    scale = jnp.exp(jnp.clip(log_scale, -LOG_SCALE_LIMIT, LOG_SCALE_LIMIT))
    return Gaussian(loc, scale), {**state, ENCODER: moved}


def _log_prior(vae: Vae, params: Params, state: State, z: Array) -> Array:
    return prior_of(vae, params, state).log_prob(params[PRIOR], z)


def _sample_prior(vae: Vae, params: Params, state: State, key: Key, num_samples: int) -> Array:
    return prior_of(vae, params, state).sample(params[PRIOR], key, num_samples)


def _init(vae: Vae, image_shape: tuple[int, int, int], key: Key) -> tuple[Params, State]:
    """(params, state) of all parts; ConfigError if shapes do not fit each other or the image."""
    names = (ENCODER, DECODER, PRIOR)
    keys: dict[str, Key] = dict(zip(names, jax.random.split(checks.one_key(key), 3), strict=True))
    x = jnp.zeros((2, *image_shape))
    z = jnp.zeros((2, vae.latent_size))
    networks = {ENCODER: vae.encoder, DECODER: vae.decoder}
    params, state = parts.init_parts(keys, networks, {ENCODER: x, DECODER: z})
    shape = parts.output_of(vae.encoder, ENCODER, params, state, x).shape
    width = 2 * vae.latent_size
    reason = f"latent_size={vae.latent_size} needs ({width},): locations and log-scales"
    parts.require_shape("the encoder gives", shape, (2, width), reason)
    parts.require_images(vae.latent_model(), params, state, z, x)
    prior = prior_of(vae, params, state)
    params_prior, state_prior = parts.init_prior(keys[PRIOR], prior, vae.latent_size, "a VAE")
    return params | params_prior, state | state_prior


def vae(
    recipe: Vae,
    image_shape: tuple[int, int, int],
    *,
    beta: Callable[[Array], Array | float] | None = None,
    bound: str = latent.ANALYTIC,
    num_samples: int | None = None,
    free_bits: float = 0.0,
    free_bits_by: str = "all",
) -> Model:
    """Make the model and its one player, "vae", which minimizes the negative bound.

    With the default bound the loss of an example is

        -E_q [log p(x | z)] + beta(step) KL(q(z | x) || p(z)).

    Args:
        recipe: networks and prior.
        image_shape: (H, W, C) of an example.
        beta: `step -> factor on the KL term`, for a warm-up; None means 1 at every step.
        bound: a name of `latent.BOUNDS`.
        num_samples: draws of z per example; None means one.
        free_bits: nats of the KL term that cost nothing, for each group of latents.
        free_bits_by: what a group is, "all" latents or each "latent" (see `latent.loss`).

    Returns:
        The model. Its loss is in nats, a mean over examples; the metrics are those of
        `latent.loss`.

    Raises:
        ConfigError: a name or number that no run could use; from `init`, parts that do not fit.
    """
    lookup(likelihoods.LIKELIHOODS, recipe.likelihood, "likelihood")
    checks.whole(recipe.latent_size, "latent_size")
    image_shape = checks.sizes(image_shape, "image_shape")
    densities = recipe.latent_model()
    loss = latent.loss(
        densities,
        beta=beta,
        bound=bound,
        num_samples=num_samples,
        free_bits=free_bits,
        free_bits_by=free_bits_by,
    )
    loss = parts.checked_batch(loss, "a VAE", x=image_shape, step=None)
    init = functools.partial(_init, recipe, image_shape)
    return latent.model_of(densities, init, {"vae": Player(densities.parts, loss)})
