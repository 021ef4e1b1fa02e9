"""The prior of the plain VAE."""

import jax.numpy as jnp

from dgm_jax.core import Array, Key, Prior, PyTree, checks, normal
from dgm_jax.densities import gaussian


def standard_normal(dim: int) -> Prior:
    """Build N(0, I), without parameters.

    log p(z) = -|z|^2 / 2 - dim log(2 pi) / 2.

    Args:
        dim: length of the latents.

    Returns:
        A prior over z [*B, dim], in nats, whose params are {}.

    Raises:
        ConfigError: dim is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import priors
        >>> print(f"{priors.standard_normal(2).log_prob({}, jnp.zeros(2)):.4f}")  # -log(2 pi)
        -1.8379
    """
    checks.whole(dim, "dim")

    def init(key: Key) -> PyTree:
        del key
        return {}

    def sample(params: PyTree, key: Key, n: int) -> Array:
        del params
        return normal(key, (n, dim))

    def log_prob(params: PyTree, z: Array) -> Array:
        del params
        return jnp.sum(gaussian.log_prob(checks.vectors(z, "z", dim), 0.0, 1.0), -1)

    def kl_from_gaussian(params: PyTree, loc: Array, scale: Array) -> Array:
        del params
        return gaussian.kl(loc, scale, 0.0, 1.0)

    return Prior(init, sample, log_prob, kl_from_gaussian)
