"""The categorical law of logits[*B, K]: log-probability, entropy and divergences, in nats.

Logits need not be normalised. A logit of -inf is a class of probability zero, and
0 log 0 = 0: values and derivatives stay finite there. Sums are formed in at least float32.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, DataError, at_least_float32, checks, exp_remainder, require


def log_prob(x: Array, logits: Array) -> Array:
    """log softmax(logits[*B, K])[x[*B]], for integer classes x: [*B].

    With K = 256 this is the likelihood of an 8-bit pixel. Raises `DataError` for x that
    is not integer (a one-hot vector, say) and for known x outside 0..K-1; inside a
    compiled function such an x has log-probability -inf. Leading axes broadcast.
    """
    x, log_p = require_classes(x, jnp.shape(logits)[-1]), _log_softmax(logits)
    shape = jnp.broadcast_shapes(x.shape, log_p.shape[:-1])
    log_p = jnp.broadcast_to(log_p, (*shape, log_p.shape[-1]))
    inside = (x >= 0) & (x < log_p.shape[-1])
    index = jnp.broadcast_to(jnp.where(inside, x, 0), shape)
    return jnp.where(
        inside, jnp.take_along_axis(log_p, index[..., None], axis=-1)[..., 0], -jnp.inf
    )


def entropy(logits: Array) -> Array:
    """-sum_k q_k log q_k: [*B], between 0 and log K."""
    log_q = _log_softmax(logits)
    # Around the largest term, so that rounding of sum q = 1 is not multiplied by log K.
    top = jax.lax.stop_gradient(jnp.max(log_q, axis=-1, keepdims=True))
    return -(top[..., 0] + _mean_under(log_q, log_q - top))


def kl(logits_q: Array, logits_p: Array) -> Array:
    """KL(q || p) = sum_k q_k (log q_k - log p_k): [*B]; +inf where q has a class that p lacks.

    Summed as q_k (log q_k - log p_k) - q_k + p_k, of which no term is negative: near q = p the
    plain terms cancel, and their rounding would be left.
    """
    return _kl(_log_softmax(logits_q), _log_softmax(logits_p))


def kl_to_uniform(logits: Array) -> Array:
    """KL(q || uniform over K classes) = log K - H(q): [*B].

    The rate of a discrete VAE's posterior against its uniform prior (Ramesh et al. 2021,
    section 2.1; Jang et al. 2017, appendix).
    """
    log_q = _log_softmax(logits)
    return _kl(log_q, jnp.full_like(log_q, -math.log(log_q.shape[-1])))


def require_classes(x, num_classes: int) -> Array:
    """x as int32; `DataError` unless it is integer and, where its values are known, in
    0..num_classes-1."""
    # under jit, jnp would trace known values too
    known = np.asarray(x) if checks.is_concrete(x) else None
    x = jnp.asarray(x)
    require(
        jnp.issubdtype(x.dtype, jnp.integer), f"classes must be integers, got {x.dtype}", DataError
    )
    if known is not None and known.size:
        low, high = int(known.min()), int(known.max())
        require(
            low >= 0 and high < num_classes,
            f"classes must be in 0..{num_classes - 1}, got values from {low} to {high}",
            DataError,
        )
    return x.astype(jnp.int32)


def _log_softmax(logits: Array) -> Array:
    return jax.nn.log_softmax(at_least_float32(logits), axis=-1)


def _kl(log_q: Array, log_p: Array) -> Array:
    """sum_k q_k (log q_k - log p_k) - q_k + p_k of normalised log-probabilities."""
    log_q, log_p = jnp.broadcast_arrays(log_q, log_p)
    q, p = jnp.exp(log_q), jnp.exp(log_p)
    possible = q > 0
    shift = jnp.where(possible, log_p, 0) - jnp.where(possible, log_q, 0)
    below = possible & (shift < 1)
    lower = jnp.where(possible, q, 0) * exp_remainder(jnp.where(below, shift, 0))
    # p / q may overflow; these do not cancel, since p > 2 q
    higher = p - jnp.where(possible, q, 0) * (1 + jnp.where(below, 0, shift))
    return jnp.sum(jnp.where(below, lower, higher), axis=-1)


def _mean_under(log_q: Array, values: Array) -> Array:
    """sum_k q_k values_k, with nothing from the classes of probability zero."""
    q = jnp.exp(log_q)
    possible = q > 0
    return jnp.sum(jnp.where(possible, q, 0) * jnp.where(possible, values, 0), axis=-1)
