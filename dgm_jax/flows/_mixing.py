"""An invertible linear map of the coordinates: Glow's 1x1 convolution on vectors."""

import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import solve_triangular

from dgm_jax.core import Array, Bijection, Key, PyTree, checks
from dgm_jax.flows.events import event, wide


def mixing(dim: int) -> Bijection:
    """Multiply by a matrix that is kept as its LU factors, the identity at init.

    y = L U x with L unit lower triangular and U = diag(exp(log_diagonal)) + strictly upper part;
    log|det dy/dx| = sum log_diagonal.

    The inverse solves two triangular systems, so neither direction computes a determinant. Glow
    puts a permutation P before L (Kingma and Dhariwal 2018, "Glow", section 3.2). P is fixed to
    the identity here, so that the layer starts as the identity and has no integer parameters; for
    another P put a `permutation` after it.

    Args:
        dim: length of the vectors.

    Returns:
        A bijection of x [*B, dim], with log-determinants [*B] in nats. Its params are
        {"lower": [dim, dim], "upper": [dim, dim], "log_diagonal": [dim]}, of which only the strict
        triangles and the diagonal are read.

    Raises:
        ConfigError: dim is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> eye = jnp.zeros((2, 2))
        >>> params = {"lower": eye, "upper": eye, "log_diagonal": jnp.log(jnp.array([2.0, 3.0]))}
        >>> y, log_det = flows.mixing(2).forward_and_log_det(params, jnp.ones(2))
        >>> print(f"{log_det:.4f}")  # log 6
        1.7918
    """
    checks.whole(dim, "dim")

    def init(key: Key) -> PyTree:
        del key
        return {
            "lower": jnp.zeros((dim, dim)),
            "upper": jnp.zeros((dim, dim)),
            "log_diagonal": jnp.zeros(dim),
        }

    def forward(params: PyTree, x: Array) -> tuple[Array, Array]:
        x = event(x, dim)
        params = wide(params)
        lower, upper = _factors(params)
        for factor in (upper, lower):
            x = jnp.dot(x, factor.T, precision=lax.Precision.HIGHEST)
        return x, _log_det(params, x)

    def inverse(params: PyTree, y: Array) -> tuple[Array, Array]:
        y = event(y, dim)
        params = wide(params)
        lower, upper = _factors(params)
        columns = solve_triangular(lower, y.reshape(-1, dim).T, lower=True, unit_diagonal=True)
        x = solve_triangular(upper, columns).T.reshape(y.shape)
        return x, -_log_det(params, x)

    return Bijection(init, forward, inverse)


def _factors(params: PyTree) -> tuple[Array, Array]:
    """L and U."""
    lower = jnp.tril(params["lower"], -1)
    upper = jnp.triu(params["upper"], 1) + jnp.diag(jnp.exp(params["log_diagonal"]))
    return lower + jnp.eye(len(lower), dtype=lower.dtype), upper


def _log_det(params: PyTree, x: Array) -> Array:
    return jnp.broadcast_to(jnp.sum(params["log_diagonal"]), x.shape[:-1])
