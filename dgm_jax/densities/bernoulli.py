"""The Bernoulli distribution of logits, elementwise, in nats: P(x = 1) = sigmoid(logits)."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from dgm_jax.core import Array, DataError, at_least_float32, checks, require, widened

# Logits closer than this: the KL by quadrature. The error of five points is far below rounding.
_NEAR = 0.5


def log_prob(x: Array, logits: Array) -> Array:
    """x log sigmoid(logits) + (1 - x) log sigmoid(-logits), elementwise.

    A log-probability for x in {0, 1}. For x in between it is the negative cross entropy with which
    grey images are often trained, which is not a normalized density. No digits cancel where one
    outcome is nearly certain, and an infinite logit of the right sign costs 0 nats.

    Args:
        x: in [0, 1], integer, boolean or floating, of any shape.
        logits: of a shape that broadcasts against x.

    Returns:
        Nats, of the broadcast shape, at least float32.

    Raises:
        DataError: a concrete x outside [0, 1], such as 8-bit pixels.

    Example:
        >>> print(f"{bernoulli.log_prob(1, jnp.float32(0.0)):.4f}")  # log 1/2
        -0.6931
    """
    logits = at_least_float32(logits)
    if checks.is_concrete(x) and np.size(x):
        values = np.asarray(x)
        low = np.min(values)
        high = np.max(values)
        require(
            bool(low >= 0 and high <= 1),
            f"x must be in [0, 1], got values from {low} to {high}",
            DataError,
        )
    x = jnp.asarray(x)
    x = x.astype(logits.dtype)
    return -_cost(x, logits)


@jax.custom_jvp
def _cost(x: Array, logits: Array) -> Array:
    """-log p as a sum of nonnegative terms, so that nothing cancels.

    x max(-l, 0) + (1 - x) max(l, 0) + log(1 + exp(-|l|)), the first two 0 where x gives them no
    weight, since 0 * inf would be NaN.
    """
    odds = _smaller_odds(logits)
    return _cost_at(x, logits, odds)


def _smaller_odds(logits: Array) -> Array:
    """exp(-|l|), with the derivative from the right at 0."""
    log_odds = jnp.where(logits >= 0, -logits, logits)
    return jnp.exp(log_odds)


def _cost_at(x: Array, logits: Array, odds: Array) -> Array:
    one = jnp.maximum(-logits, 0)
    one = jnp.where(x == 0, 0, one)
    zero = jnp.maximum(logits, 0)
    zero = jnp.where(x == 1, 0, zero)
    weighted = x * one + (1 - x) * zero
    return weighted + jnp.log1p(odds)


def _derivative_of_cost(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """(1 - x) sigmoid(l) - x sigmoid(-l) by the logits, -l by x.

    By the smaller sigmoid alone, so that a nearly certain outcome keeps its digits. The exponential
    is shared with the value: XLA's CPU backend is slow where it computes it within the logarithm.
    """
    x, logits = primals
    by_x, by_logits = tangents
    odds = _smaller_odds(logits)
    value = _cost_at(x, logits, odds)
    tangent = jnp.zeros_like(value)
    if not isinstance(by_logits, SymbolicZero):
        smaller = odds / (1 + odds)
        slope_above = (1 - x) - smaller
        slope_below = smaller - x
        slope = jnp.where(logits >= 0, slope_above, slope_below)
        tangent += slope * by_logits
    if not isinstance(by_x, SymbolicZero):
        tangent -= logits * by_x
    return value, tangent


_cost.defjvp(_derivative_of_cost, symbolic_zeros=True)


def entropy(logits: Array) -> Array:
    """-p log p - (1 - p) log(1 - p) with p = sigmoid(logits), elementwise.

    Args:
        logits: of any shape.

    Returns:
        Nats, of the same shape, between 0 and log 2.

    Example:
        >>> print(f"{bernoulli.entropy(jnp.float32(0.0)):.4f}")  # log 2
        0.6931
    """
    size = jnp.abs(at_least_float32(logits))
    certain = jnp.isinf(size)
    finite = jnp.where(certain, 0, size)
    value = jax.nn.softplus(-finite) + finite * jax.nn.sigmoid(-finite)
    return jnp.where(certain, 0, value)


def kl(logits_q: Array, logits_p: Array) -> Array:
    """KL(Bernoulli(q) || Bernoulli(p)), elementwise, for finite logits.

    With a, b the logits of q and p it is sigmoid(a) (log sigmoid(a) - log sigmoid(b)) +
    sigmoid(-a) (log sigmoid(-a) - log sigmoid(-b)). Where d = b - a is small these two terms
    cancel. There it is computed as the integral of (d - t) s (1 - s), s = sigmoid(a + t), over t
    from 0 to d, by Gauss-Legendre quadrature with five points: a sum of nonnegative terms, so never
    negative and accurate to rounding.

    Args:
        logits_q: of any shape.
        logits_p: of a shape that broadcasts against `logits_q`.

    Returns:
        Nats, of the broadcast shape, at least float32.

    Example:
        >>> print(f"{bernoulli.kl(0.0, jnp.log(3.0)):.4f}")  # log(4 / 3) / 2
        0.1438
    """
    logits_q, logits_p = widened(logits_q, logits_p)
    a, b = jnp.broadcast_arrays(logits_q, logits_p)
    log_ratio_of_one = jax.nn.softplus(-b) - jax.nn.softplus(-a)
    log_ratio_of_zero = jax.nn.softplus(b) - jax.nn.softplus(a)
    term_of_one = jax.nn.sigmoid(a) * log_ratio_of_one
    term_of_zero = jax.nn.sigmoid(-a) * log_ratio_of_zero
    apart = term_of_one + term_of_zero
    difference = b - a
    near = jnp.abs(difference) < _NEAR
    small = jnp.where(near, difference, 0)
    close = _kl_by_quadrature(a, small)
    return jnp.where(near, close, apart)


def _kl_by_quadrature(a: Array, d: Array) -> Array:
    """The integral of (d - t) s (1 - s), s = sigmoid(a + t), over t from 0 to d."""
    d = d[..., None]
    nodes, weights = np.polynomial.legendre.leggauss(5)
    nodes = (nodes + 1) / 2  # from [-1, 1] to [0, 1]
    weights = weights / 2
    factors = weights * (1 - nodes)
    nodes = jnp.asarray(nodes, a.dtype)
    logits = a[..., None] + d * nodes
    terms = jnp.asarray(factors, a.dtype) * jnp.square(d)
    terms = terms * jax.nn.sigmoid(logits)
    terms = terms * jax.nn.sigmoid(-logits)
    return jnp.sum(terms, axis=-1)
