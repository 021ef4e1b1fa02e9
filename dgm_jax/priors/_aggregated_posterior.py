"""The optimal prior: the average of the posteriors of all training points."""

import math

import jax.numpy as jnp

from dgm_jax.core import Array, Key, Prior, PyTree, checks, float_type, require
from dgm_jax.densities import aggregate, mixture


def aggregated_posterior(loc: Array, scale: Array, chunk_size: int = 256) -> Prior:
    """Average the Gaussian posteriors of all training points.

    q(z) = 1/N sum_i N(z; loc_i, diag(scale_i)^2).

    Expensive: O(N D) per evaluation, in tiles of points, as matrix products within 1e-3 nats where
    there are more than 8 dimensions (`densities.aggregate.log_prob`). Averaged over the data,
    the KL term of the ELBO is KL(q || p) + mutual information, so no other prior has a better ELBO
    on these data (Hoffman and Johnson 2016, "ELBO surgery"; Tomczak and Welling 2018, "VAE with a
    VampPrior"); it overfits to them just as easily.

    Args:
        loc: [N, D], means of the posteriors of all N training points.
        scale: [N, D], their standard deviations.
        chunk_size: points, and rows of z, evaluated at once.

    Returns:
        A prior over z [*B, D], in nats. Its params are {"loc": [N, D], "scale": [N, D]}, and init
        returns the arrays given here. Nothing in them is learned: replace them with the current
        encoder's posteriors.

    Raises:
        ConfigError: loc and scale are not both [N, D], or the chunk size is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import priors
        >>> prior = priors.aggregated_posterior(jnp.array([[-1.0], [1.0]]), jnp.ones((2, 1)))
        >>> params = prior.init(None)
        >>> print(f"{prior.log_prob(params, jnp.zeros(1)):.4f}")  # -1 / 2 - log(2 pi) / 2
        -1.4189
    """
    _require_posteriors(loc, scale)

    def init(key: Key) -> PyTree:
        del key
        return {"loc": jnp.asarray(loc), "scale": jnp.asarray(scale)}

    def components(params: PyTree) -> tuple[Array, Array, Array]:
        num = params["loc"].shape[0]
        log_weights = jnp.full(num, -math.log(num), float_type(params["loc"]))
        return log_weights, params["loc"], params["scale"]

    def sample(params: PyTree, key: Key, n: int) -> Array:
        return mixture.sample(key, n, *components(params)).x

    def log_prob(params: PyTree, z: Array) -> Array:
        z = checks.vectors(z, "z", params["loc"].shape[1])
        rows = z.reshape(-1, z.shape[-1])
        values = aggregate.log_prob(rows, params["loc"], params["scale"], chunk_size=chunk_size)
        return values.reshape(z.shape[:-1])

    return Prior(init, sample, log_prob)


def _require_posteriors(loc: Array, scale: Array) -> None:
    shape = jnp.shape(loc)
    scale_shape = jnp.shape(scale)
    require(
        len(shape) == 2 and min(shape) >= 1 and scale_shape == shape,
        f"loc and scale must both be [N, D] with N and D at least 1; got {shape} and {scale_shape}",
    )
