"""Generator and discriminator in the manner of DCGAN (Radford et al. 2016) for small images.

A 28x28 image passes 28 -> 14 -> 7 with 64 and 128 channels, a 32x32 one 32 -> 16 -> 8: each
level halves the picture with a 4x4 convolution of stride 2, or doubles it with its transpose.
"""

import flax.linen as nn
import jax.numpy as jnp

from dgm_jax.core import Array
from dgm_jax.networks.layers import convolution, initializers
from dgm_jax.networks.layers.activations import leaky_relu
from dgm_jax.networks.layers.normalization import normalize


class Generator(nn.Module):
    """z [B, Z] -> images [B, H, W, C] in (-1, 1).

    Dense to (H / 2^levels, W / 2^levels, features 2^(levels - 1)), then `levels` transposed
    convolutions, normalisation and ReLU in between, tanh at the end.

    normalization: "none", "batch", "layer" or "group_N" (`networks.normalize`).
    """

    image_shape: tuple[int, int, int]
    features: int = 64
    levels: int = 2
    normalization: str = "batch"
    momentum: float = 0.9
    init_name: str = "normal_0.02"
    backend: str | None = None

    @nn.compact
    def __call__(self, z: Array, train: bool = False) -> Array:
        height, width, channels = self.image_shape
        convolution.require_divisible(height, width, self.levels)
        kernel_init = initializers.weights(self.init_name)
        widths = [self.features * 2**level for level in reversed(range(self.levels))]

        def hidden(x, index):
            return nn.relu(normalize(self.normalization, index, self.momentum)(x, train))

        shape = (height // 2**self.levels, width // 2**self.levels, widths[0])
        use_bias = self.normalization == "none"
        x = convolution.DenseToImage(shape, use_bias, kernel_init, name="Dense_0")(z)
        x = hidden(x, 0)
        for index, width in enumerate([*widths[1:], channels]):
            last = index == self.levels - 1
            up = convolution.ConvTranspose(
                width,
                use_bias=last or use_bias,
                kernel_init=kernel_init,
                name=f"ConvTranspose_{index}",
                backend=self.backend,
            )
            x = up(x) if last else hidden(up(x), index + 1)
        return jnp.tanh(x)


class Discriminator(nn.Module):
    """Images [B, H, W, C] -> logits [B]; a pack of m images comes as m C channels.

    `levels` convolutions 4x4 of stride 2 with leaky ReLU of slope .2 and a dense head. No
    normalisation by default: gradient penalties and spectral norm want no batch norm, since they
    take each image alone. Layer and group norm keep images apart. On all but the first level.
    """

    features: int = 64
    levels: int = 2
    normalization: str = "none"
    momentum: float = 0.9
    init_name: str = "normal_0.02"
    backend: str | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        kernel_init = initializers.weights(self.init_name)
        convolution.require_divisible(x.shape[1], x.shape[2], self.levels)
        for level in range(self.levels):
            normalization = self.normalization if level > 0 else "none"
            x = convolution.Conv(
                self.features * 2**level,
                (4, 4),
                2,
                use_bias=normalization == "none",
                kernel_init=kernel_init,
                backend=self.backend,
                name=f"Conv_{level}",
            )(x)
            x = leaky_relu(normalize(normalization, level, self.momentum)(x, train))
        return convolution.DenseFromImage(1, kernel_init=kernel_init, name="Dense_0")(x)[:, 0]
