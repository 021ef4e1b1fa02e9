"""A dense layer."""

import flax.linen as nn
import jax.numpy as jnp

from dgm_jax.core import Array
from dgm_jax.networks.layers import initializers


class Dense(nn.Module):
    """x @ kernel + bias with a named initialisation of both (`networks.initializers`)."""

    features: int
    use_bias: bool = True
    init_name: str = "torch"
    gain: float = 1.0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        fan_in = x.shape[-1]
        kernel_init = initializers.weights(self.init_name, self.gain)
        y = x @ self.param("kernel", kernel_init, (fan_in, self.features), jnp.float32)
        if not self.use_bias:
            return y
        return y + self.param(
            "bias", initializers.bias(self.init_name, fan_in), (self.features,), jnp.float32
        )
