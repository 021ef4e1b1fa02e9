"""A scale and a shift of each coordinate."""

import jax.numpy as jnp

from dgm_jax.core import Array, Bijection, Key, PyTree, checks
from dgm_jax.flows.events import event, wide


def affine(dim: int) -> Bijection:
    """Scale and shift each coordinate, the identity at init.

    y = x exp(log_scale) + shift; log|det dy/dx| = sum log_scale.

    Args:
        dim: length of the vectors.

    Returns:
        A bijection of x [*B, dim], with log-determinants [*B] in nats. Its params are
        {"log_scale": [dim], "shift": [dim]}.

    Raises:
        ConfigError: dim is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> params = {"log_scale": jnp.log(jnp.array([2.0, 3.0])), "shift": jnp.ones(2)}
        >>> y, log_det = flows.affine(2).forward_and_log_det(params, jnp.ones(2))
        >>> print(f"{y[0]:.4f} {y[1]:.4f} {log_det:.4f}")  # 3, 4 and log 6
        3.0000 4.0000 1.7918
    """
    checks.whole(dim, "dim")

    def init(key: Key) -> PyTree:
        del key
        return {"log_scale": jnp.zeros(dim), "shift": jnp.zeros(dim)}

    def forward(params: PyTree, x: Array) -> tuple[Array, Array]:
        x = event(x, dim)
        params = wide(params)
        return x * jnp.exp(params["log_scale"]) + params["shift"], _log_det(params, x)

    def inverse(params: PyTree, y: Array) -> tuple[Array, Array]:
        y = event(y, dim)
        params = wide(params)
        return (y - params["shift"]) * jnp.exp(-params["log_scale"]), -_log_det(params, y)

    return Bijection(init, forward, inverse)


def _log_det(params: PyTree, x: Array) -> Array:
    return jnp.broadcast_to(jnp.sum(params["log_scale"]), x.shape[:-1])
