"""The Concrete (Gumbel-softmax) distribution, as the density of log y."""

import math

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, checks, float_type


def log_prob(
    log_y: Array,
    logits: Array,
    temperature: Array | float,
) -> Array:
    """Log-density of log y, where y = softmax((logits + Gumbel) / temperature).

    log (K-1)! + (K-1) log t + sum_k s_k - K logsumexp(s) with s_k = logits_k - t log y_k
    (ExpConcrete: Maddison et al. 2017, appendix C.3). The measure is Lebesgue's on the K-1
    differences log y_k - log y_K; subtract sum_k log y_k for the density of (y_1, ..., y_{K-1}) on
    the simplex (their eq. 10). A constant added to log_y changes nothing.

    A class with logit -inf is left out: the density is that of the remaining classes, and -inf if
    log_y is finite there.

    Args:
        log_y: [*B, K].
        logits: [*B, K].
        temperature: t, positive, a scalar or an array that broadcasts against [*B].

    Returns:
        Nats [*B]; -inf, never NaN, where an entry of log_y is -inf (the boundary of the simplex).

    Raises:
        ConfigError: a known temperature that is not positive.

    Example:
        >>> log_y = jnp.log(jnp.array([0.5, 0.5]))
        >>> print(f"{concrete.log_prob(log_y, jnp.zeros(2), 1.0):.4f}")  # log 1/4
        -1.3863
    """
    checks.positive(temperature, "temperature")
    dtype = float_type(log_y, logits)
    log_y = jnp.asarray(log_y, dtype)
    logits = jnp.asarray(logits, dtype)
    log_y, logits = jnp.broadcast_arrays(log_y, logits)
    temperature = jnp.asarray(temperature, dtype)
    by_row = temperature[..., None]
    # Classes without probability, and entries of y that are zero.
    is_masked = jnp.isneginf(logits)
    is_empty = jnp.isneginf(by_row * log_y)
    # s, with finite stand-ins where it is not defined, so that no derivative is NaN.
    scaled_log_y = by_row * jnp.where(is_empty, 0, log_y)
    s = jnp.where(is_masked, 0, logits) - scaled_log_y
    masked_s = jnp.where(is_masked, -jnp.inf, s)
    log_shares = jax.nn.log_softmax(masked_s, axis=-1)
    log_shares = jnp.where(is_masked, 0, log_shares)
    # K in the formula is the number of classes that take part; log (K - 1)! is read from a table.
    num_present = jnp.sum(~is_masked, axis=-1)
    counts = range(logits.shape[-1] + 1)
    log_factorials = jnp.asarray([math.lgamma(max(n, 1)) for n in counts], dtype)
    log_factorial = log_factorials[num_present]
    log_scale = (num_present - 1) * jnp.log(temperature)
    density = log_factorial + log_scale + jnp.sum(log_shares, axis=-1)
    # Zero density where a class that takes part has y = 0, or a masked class has y > 0.
    is_outside = jnp.any(is_masked != is_empty, axis=-1)
    return jnp.where(is_outside, -jnp.inf, density)
