"""The normal distribution, elementwise; a density over many dimensions is the sum over its axes.

`loc` and `scale` (the standard deviation, positive) broadcast against `x`. Nats, with all
constants, in at least float32.
"""

import math

import jax.numpy as jnp

from dgm_jax.core import Array, at_least_float32, checks, exp_remainder, widened

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def log_prob(
    x: Array,
    loc: Array | float,
    scale: Array | float,
) -> Array:
    """log N(x; loc, scale^2) = -((x - loc) / scale)^2 / 2 - log scale - log(2 pi) / 2.

    Args:
        x: of any shape.
        loc: mean.
        scale: standard deviation, positive.

    Returns:
        Nats, elementwise, of the broadcast shape.

    Raises:
        ConfigError: a known scale that is not positive.

    Example:
        >>> print(f"{gaussian.log_prob(0.0, 0.0, 1.0):.4f}")  # -log(2 pi) / 2
        -0.9189
    """
    x, loc, scale = widened(x, loc, checks.positive(scale, "scale"))
    standardized = (x - loc) / scale
    return -jnp.square(standardized) / 2 - jnp.log(scale) - HALF_LOG_TWO_PI


def kl(
    loc_q: Array | float,
    scale_q: Array | float,
    loc_p: Array | float,
    scale_p: Array | float,
) -> Array:
    """KL(N(loc_q, scale_q^2) || N(loc_p, scale_p^2)), elementwise.

    log(scale_p / scale_q) + (scale_q^2 + (loc_q - loc_p)^2) / (2 scale_p^2) - 1/2, computed without
    cancellation for nearly equal distributions.

    Args:
        loc_q: mean of q.
        scale_q: standard deviation of q, positive.
        loc_p: mean of p.
        scale_p: standard deviation of p, positive.

    Returns:
        Nats, of the broadcast shape, never negative.

    Raises:
        ConfigError: a known scale that is not positive.

    Example:
        >>> print(f"{gaussian.kl(1.0, 1.0, 0.0, 1.0):.4f}")  # 1/2
        0.5000
    """
    checks.positive(scale_q, "scale")
    checks.positive(scale_p, "scale")
    loc_q, scale_q, loc_p, scale_p = widened(loc_q, scale_q, loc_p, scale_p)
    # For nearly equal scales from their exact difference: the difference of two logarithms would be
    # mostly rounding.
    share = (scale_q - scale_p) / scale_p
    near = jnp.abs(share) < 0.5
    log_of_near = jnp.log1p(jnp.where(near, share, 0))
    log_of_far = jnp.log(scale_q) - jnp.log(scale_p)
    log_ratio = jnp.where(near, log_of_near, log_of_far)
    log_variance_ratio = 2 * log_ratio
    shift = (loc_q - loc_p) / scale_p
    # With u the log-variance-ratio the formula is (e^u - 1 - u + shift^2) / 2.
    return (exp_remainder(log_variance_ratio) + jnp.square(shift)) / 2


def entropy(scale: Array | float) -> Array:
    """log scale + log(2 pi e) / 2, elementwise.

    Args:
        scale: standard deviation, positive.

    Returns:
        Nats, of the shape of `scale`.

    Raises:
        ConfigError: a known scale that is not positive.

    Example:
        >>> print(f"{gaussian.entropy(1.0):.4f}")  # log(2 pi e) / 2
        1.4189
    """
    checks.positive(scale, "scale")
    scale = at_least_float32(scale)
    return jnp.log(scale) + HALF_LOG_TWO_PI + 0.5
