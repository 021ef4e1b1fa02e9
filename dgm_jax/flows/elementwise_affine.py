"""A scale and a shift of each coordinate."""

import jax.numpy as jnp

from dgm_jax.core import Array, Bijection, PyTree, checks
from dgm_jax.flows.events import event, wide


def affine(dim: int) -> Bijection:
    """y = x exp(log_scale) + shift; log|det dy/dx| = sum log_scale.

    params: {"log_scale": [dim], "shift": [dim]}, zero at init: the identity.
    """
    checks.whole(dim, "dim")

    def init(key):
        del key
        return {"log_scale": jnp.zeros(dim), "shift": jnp.zeros(dim)}

    def forward(params, x):
        x, params = event(x, dim), wide(params)
        return x * jnp.exp(params["log_scale"]) + params["shift"], _log_det(params, x)

    def inverse(params, y):
        y, params = event(y, dim), wide(params)
        return (y - params["shift"]) * jnp.exp(-params["log_scale"]), -_log_det(params, y)

    return Bijection(init, forward, inverse)


def _log_det(params: PyTree, x: Array) -> Array:
    return jnp.broadcast_to(jnp.sum(params["log_scale"]), x.shape[:-1])
