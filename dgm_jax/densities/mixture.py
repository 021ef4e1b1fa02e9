"""Finite mixtures of Gaussians with isotropic or diagonal covariance, in nats with all constants.

The density is sum_k w_k N(x; means_k, diag(scales_k)^2), given by

* `log_weights` [K], normalized; `-inf` removes a component,
* `means` [K, D],
* `scales`, standard deviations: a scalar for all, [K] for one per component, [K, D] for one per
  component and axis.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, at_least_float32, normal, require, uniform, widened
from dgm_jax.densities import gaussian


class MixtureSample(NamedTuple):
    """Draws, and the components that they came from.

    Attributes:
        x: [n, D].
        component: int32[n].
    """

    x: Array
    component: Array


def log_prob(
    x: Array,
    log_weights: Array,
    means: Array,
    scales: Array | float,
) -> Array:
    """log sum_k w_k N(x; means_k, scales_k^2).

    Args:
        x: [*B, D].
        log_weights: [K].
        means: [K, D].
        scales: standard deviations, a scalar, [K] or [K, D].

    Returns:
        Nats [*B].

    Raises:
        ConfigError: shapes that do not fit.

    Example:
        >>> log_weights = jnp.log(jnp.array([0.5, 0.5]))
        >>> value = mixture.log_prob(jnp.zeros(1), log_weights, jnp.array([[-1.0], [1.0]]), 1.0)
        >>> print(f"{value:.4f}")  # log N(1; 0, 1)
        -1.4189
    """
    log_weights, means, scales = _parameters(log_weights, means, scales)
    by_component = at_least_float32(log_weights) + component_log_prob(x, means, scales)
    return jax.nn.logsumexp(by_component, axis=-1)


def component_log_prob(
    x: Array,
    means: Array,
    scales: Array | float,
) -> Array:
    """log N(x; means_k, scales_k^2) for every component, without the weights.

    Args:
        x: [*B, D].
        means: [K, D].
        scales: standard deviations, a scalar, [K] or [K, D].

    Returns:
        Nats [*B, K].

    Raises:
        ConfigError: shapes that do not fit.

    Example:
        >>> means = jnp.array([[0.0], [1.0]])
        >>> first, second = mixture.component_log_prob(jnp.zeros(1), means, 1.0)
        >>> print(f"{first:.4f} {second:.4f}")
        -0.9189 -1.4189
    """
    _, means, scales = _parameters(jnp.zeros(means.shape[:1]), means, scales)
    x = jnp.asarray(x)
    require(
        x.ndim > 0 and x.shape[-1] == means.shape[-1],
        f"x must end in the {means.shape[-1]} dimensions of the means; got x {x.shape} and means"
        f" {means.shape}",
    )
    return jnp.sum(gaussian.log_prob(x[..., None, :], means, scales), axis=-1)


def sample(
    key: Key,
    n: int,
    log_weights: Array,
    means: Array,
    scales: Array | float,
) -> MixtureSample:
    """Independent draws with their components; differentiable in means and scales only.

    Args:
        key: a typed key.
        n: number of draws.
        log_weights: [K].
        means: [K, D].
        scales: standard deviations, a scalar, [K] or [K, D].

    Returns:
        A `MixtureSample` of n draws.

    Raises:
        ConfigError: shapes that do not fit.

    Example:
        >>> log_weights = jnp.array([-jnp.inf, 0.0])
        >>> draws = mixture.sample(jax.random.key(0), 3, log_weights, jnp.zeros((2, 1)), 1.0)
        >>> draws.component.tolist()
        [1, 1, 1]
    """
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
    log_weights = jnp.asarray(log_weights)
    means = jnp.asarray(means)
    scales = jnp.asarray(scales)
    require(means.ndim == 2, f"means must be [K, D]; got {means.shape}")
    num, dim = means.shape
    require(
        log_weights.shape == (num,),
        f"log_weights must be [{num}], one a mean; got {log_weights.shape}",
    )
    require(
        scales.shape in ((), (num,), (num, dim), (num, 1)),
        f"scales must be a scalar, [{num}] or [{num}, {dim}]; got {scales.shape}",
    )
    if scales.ndim < 2:
        scales = jnp.broadcast_to(scales, (num,))[:, None]
    return log_weights, means, scales
