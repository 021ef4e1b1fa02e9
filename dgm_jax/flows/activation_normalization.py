"""Activation normalisation: a learned scale and shift whose first values come from data."""

import jax.numpy as jnp

from dgm_jax.core import Array, Bijection, DataError, PyTree, checks, require
from dgm_jax.flows.events import event, wide


def act_norm(dim: int) -> Bijection:
    """y = (x - loc) exp(-log_scale); log|det dy/dx| = -sum log_scale.

    params: {"loc": [dim], "log_scale": [dim]}, zero at init, the identity; `act_norm_from_data`
        gives the values to
    start from where data are at hand. Kingma and Dhariwal 2018, "Glow", section 3.1.
    """
    checks.whole(dim, "dim")

    def init(key):
        del key
        return {"loc": jnp.zeros(dim), "log_scale": jnp.zeros(dim)}

    def forward(params, x):
        x, params = event(x, dim), wide(params)
        log_det = jnp.broadcast_to(-jnp.sum(params["log_scale"]), x.shape[:-1])
        return (x - params["loc"]) * jnp.exp(-params["log_scale"]), log_det

    def inverse(params, y):
        y, params = event(y, dim), wide(params)
        log_det = jnp.broadcast_to(jnp.sum(params["log_scale"]), y.shape[:-1])
        return y * jnp.exp(params["log_scale"]) + params["loc"], log_det

    return Bijection(init, forward, inverse)


def act_norm_from_data(x: Array) -> PyTree:
    """Parameters with which `act_norm` gives x [*B, dim] the mean 0 and the variance 1 over its
    leading axes.

    For a layer within a chain, x is what the layers before it make of the data. A coordinate that
    does not vary keeps its scale (log_scale 0). Raises `DataError` without a leading axis.
    """
    x = jnp.asarray(x)
    require(
        x.ndim >= 2, f"x must be [*B, dim] with at least one leading axis; got {x.shape}", DataError
    )
    x = event(x, x.shape[-1]).reshape(-1, x.shape[-1])
    variance = jnp.var(x, 0)
    return {"loc": jnp.mean(x, 0), "log_scale": jnp.log(jnp.where(variance > 0, variance, 1)) / 2}
