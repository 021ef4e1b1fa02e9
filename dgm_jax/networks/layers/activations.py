"""Activations by name."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dgm_jax import core
from dgm_jax.core import Array

Activation = Callable[[Array], Array]


def leaky_relu(x: Array, slope: float = 0.2) -> Array:
    """Apply max(x, slope x).

    Args:
        x: [*B].
        slope: of the negative side; 0.2 is that of DCGAN discriminators (Radford et al. 2016).

    Returns:
        [*B].
    """
    return jnp.where(x >= 0, x, slope * x)


ACTIVATIONS: dict[str, Activation] = {
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


def activation(name_or_function: str | Activation) -> Activation:
    """Look up an activation by name.

    Args:
        name_or_function: a name of `ACTIVATIONS`, or a function, which is returned as it is.

    Returns:
        The function, `x [*B] -> [*B]`.

    Raises:
        ConfigError: no activation has the name.
    """
    if callable(name_or_function):
        return name_or_function
    return core.lookup(ACTIVATIONS, name_or_function, "activation")
