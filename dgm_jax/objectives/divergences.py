"""Divergences between two known distributions: exact on a finite set, by quadrature on a grid.

KL(p || q) = sum p log(p / q),  JSD(p, q) = KL(p || m) / 2 + KL(q || m) / 2 with m = (p + q) / 2,
TV(p, q) = sum |p - q| / 2.  KL and JSD are in nats, with JSD <= log 2; TV is in [0, 1].

All functions take log-probabilities or log-densities. `-inf` is a legal value (0 log 0 = 0), and no
gradient is NaN at it. Nothing is renormalized: distributions that do not sum to one give what the
sums above say.

The `_on_grid` forms integrate over the last axis by the midpoint rule: the sum of the integrand
times `spacing`, where each point is the middle of a cell. Where the integrand vanishes at both ends
this equals the trapezoid rule. A grid in two dimensions is passed flattened, with the area of a
cell as `spacing`. The grid must hold the mass of both densities: check
`spacing * exp(log_p).sum()`.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, checks, exp_remainder, float_type, require


def kl(log_p: Array, log_q: Array) -> Array:
    """KL(p || q) = sum_k p_k (log p_k - log q_k) over the last axis.

    Summed as p log(p / q) - p + q, of which no term is negative, plus the difference of the masses
    where that is more than rounding: so two nearly equal distributions never have a KL below zero.

    Args:
        log_p: log-probabilities [*B, K].
        log_q: log-probabilities [*B, K].

    Returns:
        Nats [*B]; `inf` where p has an atom that q lacks (these terms send back no gradient).

    Raises:
        ConfigError: different last axes, or known probabilities in place of log-probabilities.

    Example:
        >>> p = jnp.array([0.5, 0.5])
        >>> q = jnp.array([0.25, 0.75])
        >>> print(f"{divergences.kl(jnp.log(p), jnp.log(q)):.4f}")  # log(4 / 3) / 2
        0.1438
    """
    log_p, log_q = _pair(log_p, log_q)
    p = jnp.exp(log_p)
    q = jnp.exp(log_q)
    # The terms add sum q - sum p to the sum that the docstring gives. Put it back, unless it is
    # rounding, and always with its gradient.
    mass_p = jnp.sum(p, axis=-1)
    mass_q = jnp.sum(q, axis=-1)
    excess = mass_p - mass_q
    epsilon = jnp.finfo(p.dtype).eps
    is_rounding = jnp.abs(excess) <= 8 * epsilon * mass_p
    rounding = jnp.where(is_rounding, excess, 0)
    excess = excess - lax.stop_gradient(rounding)
    terms = _kl_terms(log_p, log_q)
    return jnp.sum(terms, axis=-1) + excess


def js(log_p: Array, log_q: Array) -> Array:
    """Jensen-Shannon divergence over the last axis.

    Summed as m_k h(log p_k - log q_k) with h >= 0, so it is never negative and keeps its relative
    precision as p approaches q (Lin 1991, "Divergence measures based on the Shannon entropy").

    Args:
        log_p: log-probabilities [*B, K].
        log_q: log-probabilities [*B, K].

    Returns:
        Nats [*B], in [0, log 2].

    Raises:
        ConfigError: different last axes, or known probabilities in place of log-probabilities.

    Example:
        >>> value = divergences.js(jnp.array([0.0, -jnp.inf]), jnp.array([-jnp.inf, 0.0]))
        >>> print(f"{value:.4f}")  # disjoint: log 2
        0.6931
    """
    log_p, log_q = _pair(log_p, log_q)
    terms = _js_terms(log_p, log_q)
    return jnp.sum(terms, axis=-1)


def total_variation(log_p: Array, log_q: Array) -> Array:
    """Total variation distance sum_k |p_k - q_k| / 2 over the last axis.

    Args:
        log_p: log-probabilities [*B, K].
        log_q: log-probabilities [*B, K].

    Returns:
        [*B], in [0, 1].

    Raises:
        ConfigError: different last axes, or known probabilities in place of log-probabilities.

    Example:
        >>> p = jnp.array([0.5, 0.5])
        >>> q = jnp.array([0.25, 0.75])
        >>> print(f"{divergences.total_variation(jnp.log(p), jnp.log(q)):.4f}")
        0.2500
    """
    log_p, log_q = _pair(log_p, log_q)
    terms = _total_variation_terms(log_p, log_q)
    return jnp.sum(terms, axis=-1)


def kl_on_grid(
    log_p: Array,
    log_q: Array,
    spacing: float,
) -> Array:
    """KL(p || q) of two densities by the midpoint rule.

    Args:
        log_p: log-densities on the grid [*B, G].
        log_q: log-densities on the grid [*B, G].
        spacing: length or area of a cell, positive.

    Returns:
        Nats [*B].

    Raises:
        ConfigError: different last axes, known probabilities in place of log-probabilities, or a
            known spacing that is not positive.

    Example:
        >>> x = jnp.linspace(-10, 10, 201)
        >>> log_p = -((x - 0.5) ** 2) / 2 - jnp.log(2 * jnp.pi) / 2
        >>> log_q = -((x + 0.5) ** 2) / 2 - jnp.log(2 * jnp.pi) / 2
        >>> print(f"{divergences.kl_on_grid(log_p, log_q, 0.1):.4f}")  # shift^2 / 2
        0.5000
    """
    return kl(log_p, log_q) * checks.positive(spacing, "spacing")


def js_on_grid(
    log_p: Array,
    log_q: Array,
    spacing: float,
) -> Array:
    """Jensen-Shannon divergence of two densities by the midpoint rule.

    Args:
        log_p: log-densities on the grid [*B, G].
        log_q: log-densities on the grid [*B, G].
        spacing: length or area of a cell, positive.

    Returns:
        Nats [*B], in [0, log 2].

    Raises:
        ConfigError: different last axes, known probabilities in place of log-probabilities, or a
            known spacing that is not positive.

    Example:
        >>> log_p = jnp.log(jnp.array([2.0, 0.0]))  # on two cells of length 1/2
        >>> print(f"{divergences.js_on_grid(log_p, log_p[::-1], 0.5):.4f}")  # disjoint: log 2
        0.6931
    """
    return js(log_p, log_q) * checks.positive(spacing, "spacing")


def total_variation_on_grid(
    log_p: Array,
    log_q: Array,
    spacing: float,
) -> Array:
    """Total variation distance of two densities by the midpoint rule.

    Args:
        log_p: log-densities on the grid [*B, G].
        log_q: log-densities on the grid [*B, G].
        spacing: length or area of a cell, positive.

    Returns:
        [*B], in [0, 1].

    Raises:
        ConfigError: different last axes, known probabilities in place of log-probabilities, or a
            known spacing that is not positive.

    Example:
        >>> log_p = jnp.log(jnp.array([2.0, 0.0]))  # on two cells of length 1/2
        >>> print(f"{divergences.total_variation_on_grid(log_p, log_p[::-1], 0.5):.4f}")
        1.0000
    """
    return total_variation(log_p, log_q) * checks.positive(spacing, "spacing")


def _kl_terms(log_p: Array, log_q: Array) -> Array:
    """p (log p - log q) - p + q, never negative."""
    p = jnp.exp(log_p)
    q = jnp.exp(log_q)
    in_p = log_p > -jnp.inf
    lacking = in_p & (log_q == -jnp.inf)
    both = in_p & (log_q != -jnp.inf)
    log_p = jnp.where(both, log_p, 0.0)
    log_q = jnp.where(both, log_q, 0.0)
    log_ratio = log_q - log_p
    # p (e^u - 1 - u) with u = log q / p; for large u, q - p (1 + u), since e^u may overflow.
    small = log_ratio < 1
    small_ratio = jnp.where(small, log_ratio, 0)
    large_ratio = jnp.where(small, 0, log_ratio)
    p_in_both = jnp.where(both, p, 0)
    at_small = p_in_both * exp_remainder(small_ratio)
    at_large = q - p * (1 + large_ratio)
    terms = jnp.where(both, at_large, q)
    terms = jnp.where(both & small, at_small, terms)
    return jnp.where(lacking, jnp.inf, terms)


def _js_terms(log_p: Array, log_q: Array) -> Array:
    """m h(log p - log q); log 2 per mass where only one of both has any."""
    both = jnp.isfinite(log_p) & jnp.isfinite(log_q)
    finite_p = jnp.where(both, log_p, 0.0)
    finite_q = jnp.where(both, log_q, 0.0)
    p = jnp.exp(log_p)
    q = jnp.exp(log_q)
    mixture = (p + q) / 2
    per_mass = _js_per_mass(finite_p - finite_q)
    per_mass = jnp.where(both, per_mass, math.log(2))
    return mixture * per_mass


def _js_per_mass(log_ratio: Array) -> Array:
    """h(d) = log 2 - H(sigmoid(d)), H the binary entropy: the JSD per unit of mass of m."""
    size = jnp.abs(log_ratio)
    half = jnp.minimum(size / 2, 1.0)
    # log 2 - H cancels near d = 0; the same number written with tanh does not.
    tanh = jnp.tanh(half)
    log_complement = jnp.log1p(-jnp.square(tanh))
    near = half * tanh + log_complement / 2
    log_share = jnp.log1p(jnp.exp(-size))
    share = jax.nn.sigmoid(-size)
    far = math.log(2) - log_share - size * share
    return jnp.where(size < 2, near, far)


def _total_variation_terms(log_p: Array, log_q: Array) -> Array:
    p = jnp.exp(log_p)
    q = jnp.exp(log_q)
    return jnp.abs(p - q) / 2


def _pair(log_p: Array, log_q: Array) -> tuple[Array, Array]:
    """Both as arrays of one type, at least float32, after a check of their shapes."""
    log_p = jnp.asarray(log_p)
    log_q = jnp.asarray(log_q)
    shape_p = log_p.shape
    shape_q = log_q.shape
    have_axes = log_p.ndim > 0 and log_q.ndim > 0
    require(
        have_axes and shape_p[-1] == shape_q[-1],
        f"p and q must share their last axis, the atoms or the grid; got log_p {shape_p} and"
        f" log_q {shape_q}",
    )
    checks.not_probabilities(log_p, "log_p")
    checks.not_probabilities(log_q, "log_q")
    dtype = float_type(log_p, log_q)
    return log_p.astype(dtype), log_q.astype(dtype)
