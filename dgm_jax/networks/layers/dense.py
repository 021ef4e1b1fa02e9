"""Dense layers between vectors, and between vectors and images."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from dgm_jax.core import Array
from dgm_jax.core.reductions import cpu_barrier
from dgm_jax.networks.layers import initializers


def by_rows(layers: Callable[[Array], Array], x: Array) -> Array:
    """Apply layers of vectors to x [*B, D], as to rows [prod(B), D]. Returns layers(x), [*B, F].

    The gradient of a kernel is then a product of two matrices, and that of a bias the sum of a
    matrix's rows. Where they are sums over several axes of x [B, T, D], XLA's CPU backend copies
    what it multiplies to another layout, and adds up number by number.
    """
    rows = cpu_barrier(x.reshape(math.prod(x.shape[:-1]), x.shape[-1]))
    y = cpu_barrier(layers(rows))
    return y.reshape(*x.shape[:-1], y.shape[-1])


class Dense(nn.Module):
    """Compute x @ kernel + bias, with a named initialization of both.

    Attributes:
        features: number of outputs.
        use_bias: whether there is a bias.
        init_name: a name of `networks.INITIALIZERS`.
        gain: factor on the drawn weights.
    """

    features: int
    use_bias: bool = True
    init_name: str = "torch"
    gain: float = 1.0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map x [*B, D] to [*B, features]."""
        fan_in = x.shape[-1]
        kernel_init = initializers.weights(self.init_name, self.gain)
        y = x @ self.param("kernel", kernel_init, (fan_in, self.features), jnp.float32)
        if not self.use_bias:
            return y
        bias_init = initializers.bias(self.init_name, fan_in)
        return y + self.param("bias", bias_init, (self.features,), jnp.float32)


class DenseToImage(nn.Module):
    """A dense layer from vectors [B, D] to images [B, H, W, C].

    Attributes:
        shape: (H, W, C).
        use_bias: whether there is a bias.
        kernel_init: `(key, shape, dtype) -> kernel [D, H W C]`.
    """

    shape: tuple[int, int, int]
    use_bias: bool = True
    kernel_init: Callable = initializers.weights("he")

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map x [B, D] to images."""
        size = math.prod(self.shape)
        y = x @ self.param("kernel", self.kernel_init, (x.shape[-1], size), jnp.float32)
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (size,), jnp.float32)
        return y.reshape(-1, *self.shape)


class DenseFromImage(nn.Module):
    """A dense layer from images [B, H, W, C], flattened to [B, H W C], to vectors [B, features].

    Attributes:
        features: number of outputs.
        use_bias: whether there is a bias.
        kernel_init: `(key, shape, dtype) -> kernel [H W C, features]`.
    """

    features: int
    use_bias: bool = True
    kernel_init: Callable = initializers.weights("he")

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map images x [B, H, W, C] to vectors."""
        flat = x.reshape(x.shape[0], -1)
        shape = (flat.shape[-1], self.features)
        y = flat @ self.param("kernel", self.kernel_init, shape, jnp.float32)
        if not self.use_bias:
            return y
        return y + self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
