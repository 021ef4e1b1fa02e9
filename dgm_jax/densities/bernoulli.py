"""The Bernoulli law of logits, elementwise, in nats: probability of one is sigmoid(logits)."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from dgm_jax.core import Array, DataError, at_least_float32, require, widened

# Logits nearer than this: the KL by quadrature. The error of five points is far below rounding.
_NEAR = 0.5


def log_prob(x: Array, logits: Array) -> Array:
    """x log sigmoid(logits) + (1 - x) log sigmoid(-logits), elementwise.

    A log-probability for x in {0, 1} (integer, boolean or floating). For x between them
    it is the negative cross entropy that grey images are often trained with, which is
    not a normalised density. Each side is a softplus, so no digits cancel where the law
    is nearly certain, and an infinite logit that is right costs 0 nats. Raises
    `DataError` for known x outside [0, 1], such as 8-bit pixels.
    """
    logits = at_least_float32(logits)
    if not isinstance(x, Tracer) and np.size(x):
        low, high = np.min(np.asarray(x)), np.max(np.asarray(x))
        require(
            bool(low >= 0 and high <= 1),
            f"x must be in [0, 1], got values from {low} to {high}",
            DataError,
        )
    x = jnp.asarray(x).astype(logits.dtype)
    one = jnp.where(x == 0, 0, jax.nn.softplus(-jnp.where(x == 0, 0, logits)))
    zero = jnp.where(x == 1, 0, jax.nn.softplus(jnp.where(x == 1, 0, logits)))
    return -(x * one + (1 - x) * zero)


def entropy(logits: Array) -> Array:
    """-p log p - (1 - p) log(1 - p) with p = sigmoid(logits), elementwise."""
    size = jnp.abs(at_least_float32(logits))
    finite = jnp.where(jnp.isinf(size), 0, size)
    return jnp.where(
        jnp.isinf(size), 0, jax.nn.softplus(-finite) + finite * jax.nn.sigmoid(-finite)
    )


def kl(logits_q: Array, logits_p: Array) -> Array:
    """KL(Bernoulli(q) || Bernoulli(p)), elementwise; finite logits.

    sigmoid(a) (log sigmoid(a) - log sigmoid(b)) + sigmoid(-a) (log sigmoid(-a) - log sigmoid(-b)),
    with d = b - a written as log(1 + sigmoid(a) (e^d - 1)) - sigmoid(a) d, or by symmetry with both
    signs turned, whichever has d <= 0. Near d = 0, where its two terms cancel, it is the integral of
    (d - t) s (1 - s) with s = sigmoid(a + t) over t from 0 to d, by five points of Gauss and
    Legendre: positive, and right to rounding.
    """
    a, b = widened(logits_q, logits_p)
    turned = b > a
    a, b = jnp.where(turned, -a, a), jnp.where(turned, -b, b)
    d = b - a
    near = d > -_NEAR
    small, large = jnp.where(near, d, 0), jnp.where(near, -1, d)
    nodes, weights = np.polynomial.legendre.leggauss(5)
    t = small[..., None] * jnp.asarray((nodes + 1) / 2, d.dtype)
    slope = jax.nn.sigmoid(a[..., None] + t) * jax.nn.sigmoid(-a[..., None] - t)
    share = jnp.asarray(weights / 2 * (1 - (nodes + 1) / 2), d.dtype)
    integral = jnp.square(small) * jnp.sum(share * slope, axis=-1)
    q = jax.nn.sigmoid(a)
    return jnp.where(near, integral, jnp.log1p(q * jnp.expm1(large)) - q * large)
