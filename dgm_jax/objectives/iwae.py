"""Importance-weighted bounds on log p(x).

From log-weights log w = log p(x, z) - log q(z | x), z ~ q.
"""

import jax.numpy as jnp

from dgm_jax import core
from dgm_jax.core import Array, log_mean_exp, require


def bound(log_weights: Array) -> Array:
    """log (1/S) sum_s w_s over the leading axis.

    A lower bound on log p(x) in expectation: the ELBO for S = 1, never looser with more samples,
    and tight as S grows (Burda, Grosse and Salakhutdinov 2016, theorem 1).

    Args:
        log_weights: [S, *B], in nats.

    Returns:
        Nats [*B]; -inf where every weight is zero.

    Raises:
        ConfigError: no samples.

    Example:
        >>> print(f"{iwae.bound(jnp.log(jnp.array([1.0, 3.0]))):.4f}")  # log 2
        0.6931
    """
    _require_samples(log_weights)
    return log_mean_exp(log_weights, axis=0).value


def effective_sample_size(log_weights: Array) -> Array:
    """(sum w)^2 / sum w^2 over the leading axis (Kong 1992).

    It is small compared with S where a few weights dominate the estimate; `bound` is then far below
    log p(x).

    Args:
        log_weights: [S, *B], in nats.

    Returns:
        [*B], between 1 and S; 0 where all weights are zero.

    Raises:
        ConfigError: no samples.

    Example:
        >>> iwae.effective_sample_size(jnp.array([0.0, -jnp.inf, -jnp.inf])).item()
        1.0
    """
    _require_samples(log_weights)
    return core.effective_sample_size(log_weights, axis=0)


def _require_samples(log_weights: Array) -> None:
    shape = jnp.shape(log_weights)
    require(
        len(shape) >= 1 and shape[0] >= 1,
        f"log_weights must be [S, *B] with S >= 1 samples, got {shape}",
    )
