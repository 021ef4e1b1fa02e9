"""An invertible linear map of the coordinates: Glow's 1x1 convolution on vectors."""

import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import solve_triangular

from dgm_jax.core import Array, Bijection, PyTree, checks
from dgm_jax.flows.events import event, wide


def mixing(dim: int) -> Bijection:
    """y = L U x with L unit lower triangular and U upper triangular; log|det dy/dx| = sum log diag
    U.

    U = diag(exp(log_diagonal)) + strictly upper part. The inverse solves two triangular systems, so
    neither direction costs a determinant. The permutation P that Glow puts before L is the identity
    here, and so is the map at init: with P from a random rotation, integers would have to travel
    among the trained parameters. Put a `permutation` after it for another P. Kingma and Dhariwal
    2018, "Glow", section 3.2.

    params: {"lower": [dim, dim], "upper": [dim, dim], "log_diagonal": [dim]}; only the strict
        triangles are read.
    """
    checks.whole(dim, "dim")

    def init(key):
        del key
        return {
            "lower": jnp.zeros((dim, dim)),
            "upper": jnp.zeros((dim, dim)),
            "log_diagonal": jnp.zeros(dim),
        }

    def forward(params, x):
        x, params = event(x, dim), wide(params)
        lower, upper = _factors(params)
        for factor in (upper, lower):
            x = jnp.dot(x, factor.T, precision=lax.Precision.HIGHEST)
        return x, _log_det(params, x)

    def inverse(params, y):
        y, params = event(y, dim), wide(params)
        lower, upper = _factors(params)
        columns = solve_triangular(lower, y.reshape(-1, dim).T, lower=True, unit_diagonal=True)
        x = solve_triangular(upper, columns).T.reshape(y.shape)
        return x, -_log_det(params, x)

    return Bijection(init, forward, inverse)


def _factors(params: PyTree) -> tuple[Array, Array]:
    lower = jnp.tril(params["lower"], -1)
    upper = jnp.triu(params["upper"], 1) + jnp.diag(jnp.exp(params["log_diagonal"]))
    return lower + jnp.eye(len(lower), dtype=lower.dtype), upper


def _log_det(params: PyTree, x: Array) -> Array:
    return jnp.broadcast_to(jnp.sum(params["log_diagonal"]), x.shape[:-1])
