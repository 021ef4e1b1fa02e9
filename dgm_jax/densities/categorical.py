"""The categorical distribution of logits [*B, K]: log-probability, entropy, divergences; nats.

Logits need not be normalized. A logit of -inf is a class of probability zero, and 0 log 0 = 0:
values and derivatives stay finite there. Sums are formed in at least float32.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, DataError, at_least_float32, checks, exp_remainder, require
from dgm_jax.core.reductions import row_max, row_total


def log_prob(x: Array, logits: Array) -> Array:
    """log softmax(logits)[x] for integer classes x.

    With K = 256 this is the likelihood of an 8-bit pixel. Leading axes broadcast.

    Args:
        x: classes, integers [*B].
        logits: [*B, K].

    Returns:
        Nats [*B]; -inf for classes outside 0..K-1 inside a compiled function.

    Raises:
        DataError: x that is not integer (a one-hot vector, say), or concrete x outside 0..K-1.

    Example:
        >>> print(f"{categorical.log_prob(2, jnp.zeros(4)):.4f}")  # log 1/4
        -1.3863
    """
    x = require_classes(x, jnp.shape(logits)[-1])
    logits = at_least_float32(logits)
    *batch, num_classes = logits.shape
    top = jax.lax.stop_gradient(row_max(logits))
    below_top = logits - top[..., None]
    log_total = jnp.log(row_total(jnp.exp(below_top)))
    shape = jnp.broadcast_shapes(x.shape, tuple(batch))
    below_top = jnp.broadcast_to(below_top, (*shape, num_classes))
    inside = (x >= 0) & (x < num_classes)
    index = jnp.broadcast_to(jnp.where(inside, x, 0), shape)
    log_p = _entry(below_top, index) - log_total
    return jnp.where(inside, log_p, -jnp.inf)


def entropy(logits: Array) -> Array:
    """Entropy -sum_k q_k log q_k.

    Args:
        logits: [*B, K].

    Returns:
        Nats [*B], between 0 and log K.

    Example:
        >>> print(f"{categorical.entropy(jnp.zeros(4)):.4f}")  # log 4
        1.3863
    """
    log_q = _log_softmax(logits)
    # Relative to the largest term, so that the rounding of sum q = 1 is not multiplied by log K.
    top = jax.lax.stop_gradient(jnp.max(log_q, axis=-1, keepdims=True))
    below_top = _mean_under(log_q, log_q - top)
    return -(top[..., 0] + below_top)


def kl(logits_q: Array, logits_p: Array) -> Array:
    """KL(q || p) = sum_k q_k (log q_k - log p_k).

    Summed as q_k (log q_k - log p_k) - q_k + p_k, of which no term is negative: near q = p the
    plain terms cancel, and only their rounding would be left.

    Args:
        logits_q: [*B, K].
        logits_p: [*B, K].

    Returns:
        Nats [*B]; +inf where q has a class that p lacks.

    Example:
        >>> print(f"{categorical.kl(jnp.array([0.0, -jnp.inf]), jnp.zeros(2)):.4f}")  # log 2
        0.6931
    """
    log_q = _log_softmax(logits_q)
    log_p = _log_softmax(logits_p)
    return _kl(log_q, log_p)


def kl_to_uniform(logits: Array) -> Array:
    """KL(q || uniform over K classes) = log K - H(q).

    The rate of a discrete VAE's posterior against its uniform prior (Ramesh et al. 2021, section
    2.1; Jang et al. 2017, appendix).

    Args:
        logits: [*B, K].

    Returns:
        Nats [*B], between 0 and log K.

    Example:
        >>> print(f"{categorical.kl_to_uniform(jnp.array([0.0, -jnp.inf])):.4f}")  # log 2
        0.6931
    """
    log_q = _log_softmax(logits)
    num_classes = log_q.shape[-1]
    log_uniform = jnp.full_like(log_q, -math.log(num_classes))
    return _kl(log_q, log_uniform)


def require_classes(x: Array, num_classes: int) -> Array:
    """Check integer classes.

    Args:
        x: classes, of any shape.
        num_classes: K.

    Returns:
        x as int32.

    Raises:
        DataError: x is not integer, or, where its values are concrete, not in 0..K-1.

    Example:
        >>> categorical.require_classes(np.array([0, 3]), 4).tolist()
        [0, 3]
    """
    # NumPy, since inside jit jax.numpy would trace concrete values too.
    known = np.asarray(x) if checks.is_concrete(x) else None
    x = jnp.asarray(x)
    is_integer = jnp.issubdtype(x.dtype, jnp.integer)
    require(is_integer, f"classes must be integers, got {x.dtype}", DataError)
    if known is not None and known.size:
        low = int(known.min())
        high = int(known.max())
        require(
            low >= 0 and high < num_classes,
            f"classes must be in 0..{num_classes - 1}, got values from {low} to {high}",
            DataError,
        )
    return x.astype(jnp.int32)


@jax.custom_jvp
def _entry(values: Array, index: Array) -> Array:
    """values[index] along the last axis of [*B, K], for an index of each row, [*B].

    Its gradient is a comparison with the index, which XLA fuses with what follows; that of a
    gather would be a scatter into an array of zeros.
    """
    return jnp.take_along_axis(values, index[..., None], axis=-1)[..., 0]


@_entry.defjvp
def _entry_jvp(primals: tuple[Array, Array], tangents: tuple) -> tuple[Array, Array]:
    values, index = primals
    is_entry = jnp.arange(values.shape[-1]) == index[..., None]
    tangent = jnp.sum(jnp.where(is_entry, tangents[0], 0), axis=-1)
    return _entry(values, index), tangent


def _log_softmax(logits: Array) -> Array:
    logits = at_least_float32(logits)
    return jax.nn.log_softmax(logits, axis=-1)


def _kl(log_q: Array, log_p: Array) -> Array:
    """sum_k q_k (log q_k - log p_k) - q_k + p_k of normalized log-probabilities."""
    log_q, log_p = jnp.broadcast_arrays(log_q, log_p)
    q = jnp.exp(log_q)
    p = jnp.exp(log_p)
    possible = q > 0
    mass = jnp.where(possible, q, 0)
    log_p = jnp.where(possible, log_p, 0)
    log_q = jnp.where(possible, log_q, 0)
    log_ratio = log_p - log_q
    # A term is q (e^u - 1 - u) with u = log p / q; for large u, p - q (1 + u), since e^u may
    # overflow. The latter does not cancel, since there p > 2 q.
    small = possible & (log_ratio < 1)
    small_ratio = jnp.where(small, log_ratio, 0)
    large_ratio = jnp.where(small, 0, log_ratio)
    at_small = mass * exp_remainder(small_ratio)
    at_large = p - mass * (1 + large_ratio)
    terms = jnp.where(small, at_small, at_large)
    return jnp.sum(terms, axis=-1)


def _mean_under(log_q: Array, values: Array) -> Array:
    """sum_k q_k values_k, with nothing from the classes of probability zero."""
    q = jnp.exp(log_q)
    possible = q > 0
    mass = jnp.where(possible, q, 0)
    values = jnp.where(possible, values, 0)
    return jnp.sum(mass * values, axis=-1)
