"""Activations by name."""

import jax
import jax.numpy as jnp

from dgm_jax import core
from dgm_jax.core import Array


def leaky_relu(x: Array, slope: float = 0.2) -> Array:
    """max(x, slope x); slope .2 is the one of DCGAN discriminators (Radford et al. 2016)."""
    return jnp.where(x >= 0, x, slope * x)


ACTIVATIONS = {
    "leaky_relu": leaky_relu,
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
    "identity": lambda x: x,
}


def activation(name_or_function):
    """The function of that name, or the function itself; ConfigError for an unknown name."""
    if callable(name_or_function):
        return name_or_function
    return core.lookup(ACTIVATIONS, name_or_function, "activation")
