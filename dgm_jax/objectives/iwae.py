"""Importance-weighted bounds on log p(x) from log-weights log w = log p(x, z) - log q(z | x), z ~
q."""

import jax.numpy as jnp

from dgm_jax import core
from dgm_jax.core import Array, log_mean_exp, require


def bound(log_weights: Array) -> Array:
    """log (1/S) sum_s w_s over the leading axis: [S, *B] -> [*B], in nats.

    A lower bound on log p(x) in expectation, the ELBO for S = 1, never looser with more samples,
    and tight as S grows (Burda, Grosse and Salakhutdinov 2016, theorem 1). -inf where every weight
    is zero.
    """
    _require_samples(log_weights)
    return log_mean_exp(log_weights, axis=0).value


def effective_sample_size(log_weights: Array) -> Array:
    """(sum w)^2 / sum w^2 over the leading axis: [S, *B] -> [*B], between 1 and S (Kong 1992); 0
    where all w are zero.

    Small against S where a few weights carry the estimate, and `bound` is then far below log p(x).
    """
    _require_samples(log_weights)
    return core.effective_sample_size(log_weights, axis=0)


def _require_samples(log_weights):
    shape = jnp.shape(log_weights)
    require(
        len(shape) >= 1 and shape[0] >= 1,
        f"log_weights must be [S, *B] with S >= 1 samples, got {shape}",
    )
