"""A learned mixture of Gaussians."""

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, Prior, PyTree, checks, normal, widened
from dgm_jax.densities import mixture as gaussians


def mixture(dim: int, num_components: int = 10, *, spread: float = 1.0) -> Prior:
    """Build a learned mixture of diagonal Gaussians.

    p(z) = sum_k softmax(logits)_k N(z; loc_k, diag(exp(log_scale_k))^2).

    At init the weights are equal, the scales 1 and the means drawn from N(0, spread^2), since equal
    components would stay equal. Samples are differentiable in means and scales, not in the weights.

    Args:
        dim: length of the latents.
        num_components: K.
        spread: standard deviation of the means at init, in units of z.

    Returns:
        A prior over z [*B, dim], in nats, with params
        {"logits": [K], "loc": [K, dim], "log_scale": [K, dim]}.

    Raises:
        ConfigError: a size is not a positive integer, or spread is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import priors
        >>> loc = jnp.array([[-1.0], [1.0]])
        >>> params = {"logits": jnp.zeros(2), "loc": loc, "log_scale": jnp.zeros((2, 1))}
        >>> value = priors.mixture(1, 2).log_prob(params, jnp.zeros(1))
        >>> print(f"{value:.4f}")  # -1 / 2 - log(2 pi) / 2
        -1.4189
    """
    checks.whole(dim, "dim")
    checks.whole(num_components, "num_components")
    checks.positive(spread, "spread")  # with 0 all components would stay equal

    def init(key: Key) -> PyTree:
        return {
            "logits": jnp.zeros(num_components),
            "loc": spread * normal(key, (num_components, dim)),
            "log_scale": jnp.zeros((num_components, dim)),
        }

    def components(params: PyTree) -> tuple[Array, Array, Array]:
        logits, loc, log_scale = widened(params["logits"], params["loc"], params["log_scale"])
        return jax.nn.log_softmax(logits), loc, jnp.exp(log_scale)

    def sample(params: PyTree, key: Key, n: int) -> Array:
        return gaussians.sample(key, n, *components(params)).x

    def log_prob(params: PyTree, z: Array) -> Array:
        return gaussians.log_prob(checks.vectors(z, "z", dim), *components(params))

    return Prior(init, sample, log_prob)
