"""The Concrete (Gumbel-softmax) law, as the density of log y."""

import math

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, checks, float_type


def log_prob(log_y: Array, logits: Array, temperature) -> Array:
    """Log-density of log y[*B, K], y = softmax((logits + Gumbel) / temperature): [*B], in nats.

    log (K-1)! + (K-1) log t + sum_k s_k - K logsumexp(s) with s_k = logits_k - t log y_k
    (ExpConcrete: Maddison et al. 2017, appendix C.3). The measure is Lebesgue's on the
    K-1 differences log y_k - log y_K; subtract sum_k log y_k for the density of
    (y_1, ..., y_{K-1}) on the simplex (their eq. 10). A constant added to log_y changes nothing.

    Where an entry of log_y is -inf, the boundary of the simplex, the result is -inf, never
    NaN. A class with logit -inf takes no part: the density is that of the remaining
    classes, and -inf if log_y is finite there. `temperature` is positive (`ConfigError` for
    a known one that is not) and broadcasts against [*B].
    """
    checks.positive(temperature, "temperature")
    dtype = float_type(log_y, logits)
    log_y, logits = jnp.broadcast_arrays(jnp.asarray(log_y, dtype), jnp.asarray(logits, dtype))
    temperature = jnp.asarray(temperature, dtype)
    masked, empty = jnp.isneginf(logits), jnp.isneginf(temperature[..., None] * log_y)
    s = jnp.where(masked, 0, logits) - temperature[..., None] * jnp.where(empty, 0, log_y)
    log_ratio = jnp.where(masked, 0, jax.nn.log_softmax(jnp.where(masked, -jnp.inf, s), axis=-1))
    rank = jnp.sum(~masked, axis=-1)
    log_factorials = jnp.asarray(
        [math.lgamma(max(n, 1)) for n in range(logits.shape[-1] + 1)], dtype
    )
    density = log_factorials[rank] + (rank - 1) * jnp.log(temperature) + jnp.sum(log_ratio, axis=-1)
    return jnp.where(jnp.any(masked != empty, axis=-1), -jnp.inf, density)
