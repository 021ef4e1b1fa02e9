"""The evidence lower bound with its terms apart, and the KL of relaxed discrete latents in its
three forms.

    log p(x) >= E_q(z|x) [log p(x | z)] - KL(q(z | x) || p(z))

Everything is per example, in nats; `elbo` is maximised, so a loss is its negative mean.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, checks, require, widened
from dgm_jax.densities import categorical, concrete


class ElboTerms(NamedTuple):
    """elbo = log_likelihood - beta kl, each [*B]; a bound on log p(x) for beta >= 1."""

    elbo: Array
    log_likelihood: Array
    kl: Array


def elbo(log_likelihood: Array, kl: Array, beta: Array | float = 1.0) -> ElboTerms:
    """The bound from its two terms.

    log_likelihood: [*B], one draw of log p(x | z) or a mean of several; the sum over pixels.
    kl: [*B], KL(q || p) or an estimate of it; the sum over latents.
    beta: factor on the rate (Higgins et al. 2017); may be traced. 1 is the bound of the model,
        above 1 a looser one.
    Raises ConfigError where the two shapes differ: a term that was not summed over pixels or
    latents.
    """
    shapes = jnp.shape(log_likelihood), jnp.shape(kl)
    require(
        shapes[0] == shapes[1],
        f"log_likelihood and kl must have one shape [*B], got {shapes[0]} and {shapes[1]}",
    )
    log_likelihood, kl = widened(log_likelihood, kl)
    return ElboTerms(log_likelihood - beta * kl, log_likelihood, kl)


def density_kl(
    log_y: Array, logits_q: Array, logits_p: Array, temperature_q, temperature_p
) -> Array:
    """log q(log y) - log p(log y), both Concrete densities: [*B], one for each variable.

    The relaxed model's own KL, one draw of it: with log y drawn from q, E[log p(x | y) - this] is a
    lower bound on the relaxed model's log p(x). Maddison et al. 2017, eq. 20. With a low
    temperature_p the prior's density has poles at the vertices; they take (temperature_p,
    temperature_q) = (2/5, 2/3) for 8 states.
    """
    return concrete.log_prob(log_y, logits_q, temperature_q) - concrete.log_prob(
        log_y, logits_p, temperature_p
    )


def relaxed_mass_kl(
    log_y: Array, logits_q: Array, logits_p: Array, temperature_q=None, temperature_p=None
) -> Array:
    """sum_k y_k (log q_k - log p_k): the discrete log-ratio, read at the relaxed point: [*B]. Not a
    bound.

    Maddison et al. 2017, eq. 21. Its mean tends to KL(q || p) as the temperature goes to zero.
    """
    log_y, logits_q, logits_p = widened(log_y, logits_q, logits_p)
    y = jnp.exp(log_y)
    possible = y > 0
    log_q, log_p = jax.nn.log_softmax(logits_q), jax.nn.log_softmax(logits_p)
    ratio = jnp.where(possible, log_q, 0) - jnp.where(possible, log_p, 0)
    return jnp.sum(jnp.where(possible, y, 0) * ratio, axis=-1)


def analytic_kl(
    log_y: Array, logits_q: Array, logits_p: Array, temperature_q=None, temperature_p=None
) -> Array:
    """KL(q || p) of the discrete laws, whatever the draw: [*B]. With a relaxed draw in the
    likelihood not a bound.

    Maddison et al. 2017, eq. 22; the choice of Jang et al. 2017 and of DALL-E's dVAE (Ramesh et al.
    2021). With a hard draw in the likelihood it is the discrete model's bound.
    """
    return categorical.kl(logits_q, logits_p)


# The three KL terms of a relaxed discrete model (Maddison et al. 2017, appendix C.2), under one
# signature.
RELAXED_KL = {"density": density_kl, "relaxed_mass": relaxed_mass_kl, "analytic": analytic_kl}

# Those with which the relaxed objective is a lower bound on the log-likelihood of a model: the
# relaxed one.
IS_BOUND = frozenset({"density"})


def warm_up(step, *, end=1.0, num_steps, shape: str = "cosine") -> Array:
    """beta as a function of the step, from 0 at step 0 to `end` at `num_steps` and after.

    shape "linear": end t, t = min(step / num_steps, 1) (Sonderby et al. 2016); "cosine": end (1 -
    cos(pi t)) / 2, in DALL-E to 6.6 within 5,000 steps (Ramesh et al. 2021, appendix A.2).
    """
    checks.at_least(num_steps, "num_steps", 1)
    require(shape in ("linear", "cosine"), f"shape must be 'linear' or 'cosine', got {shape!r}")
    t = jnp.clip(jnp.asarray(step) / num_steps, 0.0, 1.0)
    return end * (t if shape == "linear" else (1 - jnp.cos(jnp.pi * t)) / 2)
