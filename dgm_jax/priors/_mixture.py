"""A learned mixture of Gaussians."""

import jax
import jax.numpy as jnp

from dgm_jax.core import Prior, checks, normal, widened
from dgm_jax.densities import mixture as gaussians


def mixture(dim: int, num_components: int = 10, *, spread: float = 1.0) -> Prior:
    """p(z) = sum_k softmax(logits)_k N(z; loc_k, diag(exp(log_scale_k))^2) over z [*B, dim], in
    nats.

    params: {"logits": [K], "loc": [K, dim], "log_scale": [K, dim]}. At init the weights are even,
        the scales 1 and the
    means drawn from N(0, spread^2): components that start equal would stay equal. Samples are
    differentiable in means and scales, not in the weights.
    """
    checks.whole(dim, "dim")
    checks.whole(num_components, "num_components")
    checks.positive(spread, "spread")  # or all components stay equal

    def init(key):
        loc = spread * normal(key, (num_components, dim))
        return {
            "logits": jnp.zeros(num_components),
            "loc": loc,
            "log_scale": jnp.zeros((num_components, dim)),
        }

    def parts(params):
        logits, loc, log_scale = widened(params["logits"], params["loc"], params["log_scale"])
        return jax.nn.log_softmax(logits), loc, jnp.exp(log_scale)

    def sample(params, key, n):
        return gaussians.sample(key, n, *parts(params)).x

    def log_prob(params, z):
        return gaussians.log_prob(checks.vectors(z, "z", dim), *parts(params))

    return Prior(init, sample, log_prob)
