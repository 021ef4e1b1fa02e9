"""The prior of the plain VAE."""

import jax.numpy as jnp

from dgm_jax.core import Prior, checks, normal
from dgm_jax.densities import gaussian


def standard_normal(dim: int) -> Prior:
    """N(0, I) over z [*B, dim], without parameters: log p(z) = -|z|^2 / 2 - dim log(2 pi) / 2 in
    nats."""
    checks.whole(dim, "dim")

    def init(key):
        del key
        return {}

    def sample(params, key, n):
        del params
        return normal(key, (n, dim))

    def log_prob(params, z):
        del params
        return jnp.sum(gaussian.log_prob(checks.vectors(z, "z", dim), 0.0, 1.0), -1)

    def kl_from_gaussian(params, loc, scale):
        del params
        return gaussian.kl(loc, scale, 0.0, 1.0)

    return Prior(init, sample, log_prob, kl_from_gaussian)
