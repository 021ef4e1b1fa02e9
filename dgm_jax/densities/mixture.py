"""Finite mixtures of Gaussians with isotropic or diagonal covariance: sum_k w_k N(x; means_k,
diag(scales_k)^2).

log_weights: [K], normalised (`-inf` switches a component off). means: [K, D].
scales: standard deviations, a scalar for all, [K] one for each component, or [K, D] one for each
    axis too.
Nats, constants kept.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, at_least_float32, normal, require, uniform, widened
from dgm_jax.densities import gaussian


class MixtureSample(NamedTuple):
    """Draws and where they came from."""

    x: Array  # [n, D]
    component: Array  # int32[n]


def log_prob(x: Array, log_weights: Array, means: Array, scales: Array | float) -> Array:
    """log sum_k w_k N(x; means_k, scales_k^2); [*B, D] -> [*B]."""
    log_weights, means, scales = _parameters(log_weights, means, scales)
    return jax.nn.logsumexp(
        at_least_float32(log_weights) + component_log_prob(x, means, scales), axis=-1
    )


def component_log_prob(x: Array, means: Array, scales: Array | float) -> Array:
    """log N(x; means_k, scales_k^2) for every component, without the weights; [*B, D] -> [*B,
    K]."""
    _, means, scales = _parameters(jnp.zeros(means.shape[:1]), means, scales)
    x = jnp.asarray(x)
    require(
        x.ndim > 0 and x.shape[-1] == means.shape[-1],
        f"x must end in the {means.shape[-1]} dimensions of the means; got x {x.shape} and means"
        f" {means.shape}",
    )
    return jnp.sum(gaussian.log_prob(x[..., None, :], means, scales), axis=-1)


def sample(
    key: Key, n: int, log_weights: Array, means: Array, scales: Array | float
) -> MixtureSample:
    """n independent draws with their components; differentiable in means and scales, not in the
    weights."""
    log_weights, means, scales = widened(*_parameters(log_weights, means, scales))
    key_component, key_noise = jax.random.split(key)
    cumulative = jnp.cumsum(jnp.exp(log_weights))
    # Divided by its last entry, the table ends in exactly 1 and no draw falls beyond it.
    draw = uniform(key_component, (n,), cumulative.dtype)
    component = jnp.searchsorted(cumulative / cumulative[-1], draw, side="right").astype(jnp.int32)
    noise = normal(key_noise, (n, means.shape[-1]), means.dtype)
    return MixtureSample(means[component] + scales[component] * noise, component)


def _parameters(
    log_weights: Array, means: Array, scales: Array | float
) -> tuple[Array, Array, Array]:
    """log_weights [K], means [K, D] and scales [K, D] or [K, 1]."""
    log_weights, means, scales = jnp.asarray(log_weights), jnp.asarray(means), jnp.asarray(scales)
    require(means.ndim == 2, f"means must be [K, D]; got {means.shape}")
    num, dim = means.shape
    require(
        log_weights.shape == (num,),
        f"log_weights must be [{num}], one a mean; got {log_weights.shape}",
    )
    if scales.ndim < 2:
        require(
            scales.shape in ((), (num,)),
            f"scales must be a scalar, [{num}] or [{num}, {dim}]; got {scales.shape}",
        )
        return log_weights, means, jnp.broadcast_to(scales, (num,))[:, None]
    require(
        scales.shape in ((num, dim), (num, 1)),
        f"scales must be a scalar, [{num}] or [{num}, {dim}]; got {scales.shape}",
    )
    return log_weights, means, scales
