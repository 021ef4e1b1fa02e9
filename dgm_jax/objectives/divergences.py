"""Divergences between two known distributions: exact on a finite set, by quadrature on a grid.

KL(p || q) = sum p log(p / q),  JSD(p, q) = KL(p || m) / 2 + KL(q || m) / 2 with m = (p + q) / 2,
TV(p, q) = sum |p - q| / 2.  KL and JSD are in nats, with JSD <= log 2; TV is in [0, 1].

Everything takes log-probabilities or log-densities. `-inf` is a legal value (0 log 0 = 0), and no
gradient is NaN at it. Nothing is renormalised: distributions that do not sum to one give what the
sums above say.

The `_on_grid` forms integrate over the last axis by the midpoint rule: the sum of the integrand
times `spacing`, each point standing for the middle of a cell. Where the integrand vanishes at both
ends this equals the trapezoid rule. A grid in two dimensions is passed flattened, with the area of
a cell as `spacing`. The grid must hold the mass of both densities; `spacing * exp(log_p).sum()`
tells.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, checks, exp_remainder, float_type, require


def kl(log_p: Array, log_q: Array) -> Array:
    """KL(p || q) = sum_k p_k (log p_k - log q_k) over the last axis; [*B, K] x [*B, K] -> [*B],
    nats.

    `inf` where p has an atom that q lacks (these terms send back no gradient). Summed as p log(p /
    q) - p + q, of which no term is negative, and the difference of the masses, where that is more
    than rounding: so two near distributions have no KL below zero.
    """
    log_p, log_q = _pair(log_p, log_q)
    p, q = jnp.exp(log_p), jnp.exp(log_q)
    excess = jnp.sum(p, axis=-1) - jnp.sum(q, axis=-1)
    rounding = 8 * jnp.finfo(p.dtype).eps * jnp.sum(p, axis=-1)
    excess = excess - lax.stop_gradient(jnp.where(jnp.abs(excess) <= rounding, excess, 0))
    return jnp.sum(_kl_terms(log_p, log_q), axis=-1) + excess


def js(log_p: Array, log_q: Array) -> Array:
    """Jensen-Shannon divergence over the last axis; [*B, K] x [*B, K] -> [*B], in [0, log 2] nats.

    Summed as m_k h(log p_k - log q_k) with h >= 0, so it is never negative and keeps its relative
    precision as p approaches q (Lin 1991, "Divergence measures based on the Shannon entropy").
    """
    return jnp.sum(_js_terms(*_pair(log_p, log_q)), axis=-1)


def total_variation(log_p: Array, log_q: Array) -> Array:
    """sum_k |p_k - q_k| / 2 over the last axis; [*B, K] x [*B, K] -> [*B], in [0, 1]."""
    return jnp.sum(_total_variation_terms(*_pair(log_p, log_q)), axis=-1)


def kl_on_grid(log_p: Array, log_q: Array, spacing: float) -> Array:
    """KL(p || q) of two densities by the midpoint rule; log-densities [*B, G] -> [*B], nats."""
    return kl(log_p, log_q) * checks.positive(spacing, "spacing")


def js_on_grid(log_p: Array, log_q: Array, spacing: float) -> Array:
    """Jensen-Shannon divergence of two densities by the midpoint rule; [*B, G] -> [*B], nats."""
    return js(log_p, log_q) * checks.positive(spacing, "spacing")


def total_variation_on_grid(log_p: Array, log_q: Array, spacing: float) -> Array:
    """Total variation distance of two densities by the midpoint rule; [*B, G] -> [*B], in [0,
    1]."""
    return total_variation(log_p, log_q) * checks.positive(spacing, "spacing")


def _kl_terms(log_p: Array, log_q: Array) -> Array:
    """p (log p - log q) - p + q, never negative."""
    p, q = jnp.exp(log_p), jnp.exp(log_q)
    lacking = (log_p > -jnp.inf) & (log_q == -jnp.inf)
    both = (log_p > -jnp.inf) & (log_q != -jnp.inf)
    shift = jnp.where(both, log_q, 0.0) - jnp.where(both, log_p, 0.0)
    below = shift < 1
    lower = jnp.where(both, p, 0) * exp_remainder(jnp.where(below, shift, 0))
    higher = q - p * (1 + jnp.where(below, 0, shift))  # q / p may overflow
    terms = jnp.where(both & below, lower, jnp.where(both, higher, q))
    return jnp.where(lacking, jnp.inf, terms)


def _js_terms(log_p: Array, log_q: Array) -> Array:
    both = jnp.isfinite(log_p) & jnp.isfinite(log_q)
    log_ratio = jnp.where(both, log_p, 0.0) - jnp.where(both, log_q, 0.0)
    return (
        (jnp.exp(log_p) + jnp.exp(log_q))
        / 2
        * jnp.where(both, _js_per_mass(log_ratio), math.log(2))
    )


def _js_per_mass(log_ratio: Array) -> Array:
    """h(d) = log 2 - H(sigmoid(d)), H the binary entropy: what a unit of mass of m adds to the
    JSD."""
    size = jnp.abs(log_ratio)
    half = jnp.minimum(size / 2, 1.0)
    # log 2 - H cancels near d = 0; the same number written with tanh does not.
    near = half * jnp.tanh(half) + jnp.log1p(-jnp.square(jnp.tanh(half))) / 2
    far = math.log(2) - jnp.log1p(jnp.exp(-size)) - size * jax.nn.sigmoid(-size)
    return jnp.where(size < 2, near, far)


def _total_variation_terms(log_p: Array, log_q: Array) -> Array:
    return jnp.abs(jnp.exp(log_p) - jnp.exp(log_q)) / 2


def _pair(log_p: Array, log_q: Array) -> tuple[Array, Array]:
    log_p, log_q = jnp.asarray(log_p), jnp.asarray(log_q)
    require(
        log_p.ndim > 0 and log_q.ndim > 0 and log_p.shape[-1] == log_q.shape[-1],
        f"p and q must share their last axis, the atoms or the grid; got log_p {log_p.shape} and"
        f" log_q {log_q.shape}",
    )
    checks.not_probabilities(log_p, "log_p")
    checks.not_probabilities(log_q, "log_q")
    dtype = float_type(log_p, log_q)
    return log_p.astype(dtype), log_q.astype(dtype)
