"""Bounds on log p(x) of a VAE with categorical latents, and log p(x) itself by enumeration."""

import math

import jax
import jax.numpy as jnp

from dgm_jax import sampling
from dgm_jax.core import Array, Key, Params, State, log_mean_exp, require
from dgm_jax.models._gumbel_vae import GumbelVae, kl_to_prior, log_likelihood, logits_of
from dgm_jax.objectives.elbo import ElboTerms, elbo


def gumbel_bounds(
    key: Key,
    vae: GumbelVae,
    params: Params,
    state: State,
    x: Array,
    temperature: Array | float,
) -> dict[str, ElboTerms]:
    """Evaluate the bound with a hard draw and its relaxation with a soft draw of the same noise.

    The hard one is a bound on log p(x); the relaxed one is not. Their difference is the relaxation
    gap.

    Args:
        key: of the draws.
        vae: the networks.
        params: of the model, by part.
        state: of the model, by part.
        x: [B, H, W, C].
        temperature: of the Gumbel-softmax draw.

    Returns:
        {"hard": ..., "relaxed": ...}, terms [B] in nats.
    """
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
    """Compute log p(x) = log sum_z p(z) p(x | z) by enumeration of all K^N latents.

    Args:
        vae: the networks.
        params: of the model, by part.
        state: of the model, by part.
        x: [B, H, W, C].
        max_configurations: largest K^N.

    Returns:
        [B] in nats.

    Raises:
        ConfigError: there are more latents than max_configurations.
    """
    num_variables = math.prod(vae.latent_shape)
    total = vae.num_classes**num_variables
    require(
        total <= max_configurations,
        f"{vae.num_classes}^{num_variables} = {total} latents are more than "
        f"max_configurations={max_configurations}",
    )
    digits = jnp.unravel_index(jnp.arange(total), (vae.num_classes,) * num_variables)
    codes = jnp.stack(digits, axis=-1).reshape(total, *vae.latent_shape)
    z = jax.nn.one_hot(codes, vae.num_classes)

    def log_prob(image: Array) -> Array:
        return log_mean_exp(log_likelihood(vae, params, state, z, image)).value

    return jax.lax.map(log_prob, x)
