"""Activation normalization: a learned scale and shift whose first values come from data."""

import jax.numpy as jnp

from dgm_jax.core import Array, Bijection, DataError, Key, PyTree, checks, require
from dgm_jax.flows.events import event, wide


def act_norm(dim: int) -> Bijection:
    """Shift and scale each coordinate, the identity at init.

    y = (x - loc) exp(-log_scale); log|det dy/dx| = -sum log_scale.

    `act_norm_from_data` gives the parameters to start from where data are at hand (Kingma and
    Dhariwal 2018, "Glow", section 3.1).

    Args:
        dim: length of the vectors.

    Returns:
        A bijection of x [*B, dim], with log-determinants [*B] in nats. Its params are
        {"loc": [dim], "log_scale": [dim]}.

    Raises:
        ConfigError: dim is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> params = {"loc": jnp.ones(2), "log_scale": jnp.log(jnp.array([2.0, 2.0]))}
        >>> y, log_det = flows.act_norm(2).forward_and_log_det(params, jnp.full(2, 3.0))
        >>> print(f"{y[0]:.4f} {log_det:.4f}")  # 1 and -2 log 2
        1.0000 -1.3863
    """
    checks.whole(dim, "dim")

    def init(key: Key) -> PyTree:
        del key
        return {"loc": jnp.zeros(dim), "log_scale": jnp.zeros(dim)}

    def forward(params: PyTree, x: Array) -> tuple[Array, Array]:
        x = event(x, dim)
        params = wide(params)
        log_scale = params["log_scale"]
        log_sum = jnp.sum(log_scale)
        log_det = jnp.broadcast_to(-log_sum, x.shape[:-1])
        centered = x - params["loc"]
        y = centered * jnp.exp(-log_scale)
        return y, log_det

    def inverse(params: PyTree, y: Array) -> tuple[Array, Array]:
        y = event(y, dim)
        params = wide(params)
        log_scale = params["log_scale"]
        log_sum = jnp.sum(log_scale)
        log_det = jnp.broadcast_to(log_sum, y.shape[:-1])
        scaled = y * jnp.exp(log_scale)
        x = scaled + params["loc"]
        return x, log_det

    return Bijection(init, forward, inverse)


def act_norm_from_data(x: Array) -> PyTree:
    """Compute the parameters with which `act_norm` standardizes a batch.

    The layer then gives x the mean 0 and the variance 1 over its leading axes. A coordinate that
    does not vary keeps its scale (log_scale 0).

    Args:
        x: [*B, dim], with at least one leading axis. For a layer within a chain these are the
            outputs of the layers before it.

    Returns:
        {"loc": [dim], "log_scale": [dim]}, in the units of x and their logarithm.

    Raises:
        DataError: x has no leading axis.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> params = flows.act_norm_from_data(jnp.array([[1.0], [5.0]]))
        >>> print(f"{params['loc'][0]:.4f} {params['log_scale'][0]:.4f}")  # 3 and log 2
        3.0000 0.6931
    """
    x = jnp.asarray(x)
    message = f"x must be [*B, dim] with at least one leading axis; got {x.shape}"
    require(x.ndim >= 2, message, DataError)
    dim = x.shape[-1]
    rows = event(x, dim).reshape(-1, dim)
    variance = jnp.var(rows, 0)
    positive = jnp.where(variance > 0, variance, 1)
    log_scale = jnp.log(positive) / 2
    loc = jnp.mean(rows, 0)
    return {"loc": loc, "log_scale": log_scale}
