"""The normal distribution, elementwise; a density over many dimensions is the sum over its axes.

`loc` and `scale` (the standard deviation, positive) broadcast against `x`. Nats, constants kept, in
at least float32.
"""

import math

import jax.numpy as jnp

from dgm_jax.core import Array, at_least_float32, checks, exp_remainder, widened

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def log_prob(x: Array, loc: Array | float, scale: Array | float) -> Array:
    """log N(x; loc, scale^2) = -((x - loc) / scale)^2 / 2 - log scale - log(2 pi) / 2,
    elementwise."""
    x, loc, scale = widened(x, loc, checks.positive(scale, "scale"))
    return -jnp.square((x - loc) / scale) / 2 - jnp.log(scale) - HALF_LOG_TWO_PI


def kl(
    loc_q: Array | float, scale_q: Array | float, loc_p: Array | float, scale_p: Array | float
) -> Array:
    """KL(N(loc_q, scale_q^2) || N(loc_p, scale_p^2)), elementwise:

    log(scale_p / scale_q) + (scale_q^2 + (loc_q - loc_p)^2) / (2 scale_p^2) - 1/2.
    """
    checks.positive(scale_q, "scale")
    checks.positive(scale_p, "scale")
    loc_q, scale_q, loc_p, scale_p = widened(loc_q, scale_q, loc_p, scale_p)
    # of near scales by their exact difference, since two logarithms would leave their rounding
    share = (scale_q - scale_p) / scale_p
    near = jnp.abs(share) < 0.5
    log_ratio = jnp.where(
        near, jnp.log1p(jnp.where(near, share, 0)), jnp.log(scale_q) - jnp.log(scale_p)
    )
    log_variance_ratio = 2 * log_ratio
    shift = (loc_q - loc_p) / scale_p
    # not below zero, and right where the two are near
    return (exp_remainder(log_variance_ratio) + jnp.square(shift)) / 2


def entropy(scale: Array | float) -> Array:
    """log scale + log(2 pi e) / 2, elementwise."""
    return jnp.log(at_least_float32(checks.positive(scale, "scale"))) + HALF_LOG_TWO_PI + 0.5
