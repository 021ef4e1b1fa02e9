"""The Bernoulli law of logits, elementwise, in nats: probability of one is sigmoid(logits)."""

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, DataError, at_least_float32, checks, require, widened

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
    if checks.is_concrete(x) and np.size(x):
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

    sigmoid(a) (log sigmoid(a) - log sigmoid(b)) + sigmoid(-a) (log sigmoid(-a) - log sigmoid(-b)).
    Where d = b - a is small these two terms cancel. There it is the integral of (d - t) s (1 - s),
    s = sigmoid(a + t), over t from 0 to d, by five points of Gauss and Legendre: a sum of squares,
    never negative, and right to rounding.
    """
    a, b = jnp.broadcast_arrays(*widened(logits_q, logits_p))
    one = jax.nn.softplus(-b) - jax.nn.softplus(-a)
    zero = jax.nn.softplus(b) - jax.nn.softplus(a)
    apart = jax.nn.sigmoid(a) * one + jax.nn.sigmoid(-a) * zero
    near = jnp.abs(b - a) < _NEAR
    d = jnp.where(near, b - a, 0)[..., None]
    place, weight = np.polynomial.legendre.leggauss(5)
    place, weight = (place + 1) / 2, weight / 2  # of an integral from 0 to 1
    at = a[..., None] + d * jnp.asarray(place, a.dtype)
    terms = jnp.asarray(weight * (1 - place), a.dtype) * jnp.square(d)
    terms = terms * jax.nn.sigmoid(at) * jax.nn.sigmoid(-at)
    return jnp.where(near, jnp.sum(terms, axis=-1), apart)
