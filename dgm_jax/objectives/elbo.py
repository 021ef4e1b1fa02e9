"""The evidence lower bound with its terms apart, and three KL terms of relaxed discrete latents.

    log p(x) >= E_q(z|x) [log p(x | z)] - KL(q(z | x) || p(z))

Everything is per example, in nats; `elbo` is maximized, so a loss is its negative mean.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, checks, require, widened
from dgm_jax.densities import categorical, concrete


class ElboTerms(NamedTuple):
    """elbo = log_likelihood - beta kl, in nats; a bound on log p(x) for beta >= 1.

    Attributes:
        elbo: [*B].
        log_likelihood: [*B].
        kl: [*B].
    """

    elbo: Array
    log_likelihood: Array
    kl: Array


def elbo(
    log_likelihood: Array,
    kl: Array,
    beta: Array | float = 1.0,
) -> ElboTerms:
    """The bound log_likelihood - beta kl from its two terms.

    Args:
        log_likelihood: [*B], one draw of log p(x | z) or a mean of several, summed over pixels.
        kl: [*B], KL(q || p) or an estimate of it, summed over latents.
        beta: factor on the KL (Higgins et al. 2017); may be traced. 1 is the bound of the model,
            above 1 a looser one.

    Returns:
        The bound and its terms, [*B] each, in nats.

    Raises:
        ConfigError: the two shapes differ: a term was not summed over pixels or latents.

    Example:
        >>> elbo.elbo(jnp.array([-3.0]), jnp.array([1.0]), beta=2.0).elbo.tolist()
        [-5.0]
    """
    shape = jnp.shape(log_likelihood)
    kl_shape = jnp.shape(kl)
    require(
        shape == kl_shape,
        f"log_likelihood and kl must have one shape [*B], got {shape} and {kl_shape}",
    )
    log_likelihood, kl = widened(log_likelihood, kl)
    return ElboTerms(log_likelihood - beta * kl, log_likelihood, kl)


def density_kl(
    log_y: Array,
    logits_q: Array,
    logits_p: Array,
    temperature_q: Array | float,
    temperature_p: Array | float,
) -> Array:
    """log q(log y) - log p(log y), both Concrete densities: one draw of the relaxed model's KL.

    With log y drawn from q, E[log p(x | y) - this] is a lower bound on the relaxed model's
    log p(x). Maddison et al. 2017, eq. 20. With a low temperature_p the prior's density has poles
    at the vertices; they take (temperature_p, temperature_q) = (2/5, 2/3) for 8 states.

    Args:
        log_y: draws of q, [*B, K].
        logits_q: [*B, K].
        logits_p: [*B, K].
        temperature_q: of q, positive.
        temperature_p: of p, positive.

    Returns:
        Nats [*B], one for each variable.

    Raises:
        ConfigError: a known temperature that is not positive.

    Example:
        >>> logits = jnp.zeros(3)
        >>> elbo.density_kl(jnp.log(jnp.ones(3) / 3), logits, logits, 0.5, 0.5).item()
        0.0
    """
    log_q = concrete.log_prob(log_y, logits_q, temperature_q)
    log_p = concrete.log_prob(log_y, logits_p, temperature_p)
    return log_q - log_p


def relaxed_mass_kl(
    log_y: Array,
    logits_q: Array,
    logits_p: Array,
    temperature_q: Array | float | None = None,
    temperature_p: Array | float | None = None,
) -> Array:
    """sum_k y_k (log q_k - log p_k): the discrete log-ratio at the relaxed point. Not a bound.

    Maddison et al. 2017, eq. 21. Its mean tends to KL(q || p) as the temperature goes to zero.

    Args:
        log_y: draws of q, [*B, K].
        logits_q: [*B, K].
        logits_p: [*B, K].
        temperature_q: not used.
        temperature_p: not used.

    Returns:
        Nats [*B], one for each variable.

    Example:
        >>> logits_q = jnp.log(jnp.array([0.75, 0.25]))
        >>> y = jnp.array([1.0, 0.0])
        >>> value = elbo.relaxed_mass_kl(jnp.log(y), logits_q, jnp.zeros(2))
        >>> print(f"{value:.4f}")  # log(.75 / .5)
        0.4055
    """
    log_y, logits_q, logits_p = widened(log_y, logits_q, logits_p)
    y = jnp.exp(log_y)
    possible = y > 0
    log_q = jax.nn.log_softmax(logits_q)
    log_p = jax.nn.log_softmax(logits_p)
    ratio = jnp.where(possible, log_q, 0) - jnp.where(possible, log_p, 0)
    return jnp.sum(jnp.where(possible, y, 0) * ratio, axis=-1)


def analytic_kl(
    log_y: Array,
    logits_q: Array,
    logits_p: Array,
    temperature_q: Array | float | None = None,
    temperature_p: Array | float | None = None,
) -> Array:
    """KL(q || p) of the discrete distributions, whatever the draw.

    With a relaxed draw in the likelihood it gives no bound; with a hard draw it gives the discrete
    model's bound. Maddison et al. 2017, eq. 22; the choice of Jang et al. 2017 and of DALL-E's dVAE
    (Ramesh et al. 2021).

    Args:
        log_y: not used.
        logits_q: [*B, K].
        logits_p: [*B, K].
        temperature_q: not used.
        temperature_p: not used.

    Returns:
        Nats [*B], one for each variable.

    Example:
        >>> value = elbo.analytic_kl(jnp.zeros(2), jnp.array([0.0, -jnp.inf]), jnp.zeros(2))
        >>> print(f"{value:.4f}")  # log 2
        0.6931
    """
    return categorical.kl(logits_q, logits_p)


# The three KL terms of a relaxed discrete model (Maddison et al. 2017, appendix C.2).
RELAXED_KL = {"density": density_kl, "relaxed_mass": relaxed_mass_kl, "analytic": analytic_kl}

# With these the relaxed objective is a lower bound on the log-likelihood of a (relaxed) model.
IS_BOUND = frozenset({"density"})


def warm_up(
    step: Array | int,
    *,
    end: Array | float = 1.0,
    num_steps: Array | int,
    shape: str = "cosine",
) -> Array:
    """beta as a function of the step, from 0 at step 0 to `end` at `num_steps` and after.

    With t = min(step / num_steps, 1): "linear" is end t (Sonderby et al. 2016), "cosine" is
    end (1 - cos(pi t)) / 2, in DALL-E to 6.6 within 5,000 steps (Ramesh et al. 2021, appendix A.2).

    Args:
        step: of training.
        end: the final value.
        num_steps: length of the warm-up, at least 1.
        shape: "linear" or "cosine".

    Returns:
        beta.

    Raises:
        ConfigError: an unknown shape, or num_steps below 1.

    Example:
        >>> elbo.warm_up(25, num_steps=100, shape="linear").item()
        0.25
    """
    checks.at_least(num_steps, "num_steps", 1)
    require(shape in ("linear", "cosine"), f"shape must be 'linear' or 'cosine', got {shape!r}")
    t = jnp.clip(jnp.asarray(step) / num_steps, 0.0, 1.0)
    return end * (t if shape == "linear" else (1 - jnp.cos(jnp.pi * t)) / 2)
