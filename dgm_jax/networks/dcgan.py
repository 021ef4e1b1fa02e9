"""Generator and discriminator in the manner of DCGAN (Radford et al. 2016) for small images.

Each level halves the height and width with a 4x4 convolution of stride 2, or doubles them with its
transpose: a 28x28 image passes 28 -> 14 -> 7 with 64 and 128 channels, a 32x32 image 32 -> 16 -> 8.
"""

import flax.linen as nn
import jax.numpy as jnp

from dgm_jax.core import Array
from dgm_jax.networks.layers import convolution, initializers
from dgm_jax.networks.layers.activations import leaky_relu
from dgm_jax.networks.layers.dense import DenseFromImage, DenseToImage
from dgm_jax.networks.layers.normalization import normalize


class Generator(nn.Module):
    """z [B, Z] -> images [B, H, W, C] in (-1, 1).

    Dense to (H / 2^levels, W / 2^levels, features 2^(levels - 1)), then `levels` transposed
    convolutions with normalization and ReLU between them, and tanh at the end.

    Attributes:
        image_shape: (H, W, C); height and width divisible by 2^levels.
        features: channels before the last convolution; each level below has twice as many.
        levels: number of transposed convolutions.
        normalization: "none", "batch", "layer" or "group_N" (`networks.normalize`).
        momentum: of batch norm's averages.
        init_name: a name of `networks.INITIALIZERS`.
        backend: of the convolutions; None for what was asked for.
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
        """Generate images from z [B, Z]."""
        height, width, channels = self.image_shape
        convolution.require_divisible(height, width, self.levels)
        kernel_init = initializers.weights(self.init_name)
        widths = [self.features * 2**level for level in reversed(range(self.levels))]

        def activate(x: Array, index: int) -> Array:
            return nn.relu(normalize(self.normalization, index, self.momentum)(x, train))

        shape = (height // 2**self.levels, width // 2**self.levels, widths[0])
        use_bias = self.normalization == "none"
        x = DenseToImage(shape, use_bias, kernel_init, name="Dense_0")(z)
        x = activate(x, 0)
        for index, width in enumerate([*widths[1:], channels]):
            is_last = index == self.levels - 1
            up = convolution.ConvTranspose(
                width,
                use_bias=is_last or use_bias,
                kernel_init=kernel_init,
                name=f"ConvTranspose_{index}",
                backend=self.backend,
            )
            x = up(x) if is_last else activate(up(x), index + 1)
        return jnp.tanh(x)


class Discriminator(nn.Module):
    """Images [B, H, W, C] -> logits [B]; a pack of m images comes as m C channels.

    `levels` 4x4 convolutions of stride 2 with leaky ReLU of slope 0.2, and a dense head. There is
    no normalization by default: gradient penalties and spectral norm treat each image separately,
    which batch norm does not. Layer and group norm do.

    Attributes:
        features: channels of the first convolution; each further level has twice as many.
        levels: number of convolutions.
        normalization: "none", "batch", "layer" or "group_N" (`networks.normalize`), of all levels
            but the first.
        momentum: of batch norm's averages.
        init_name: a name of `networks.INITIALIZERS`.
        backend: of the convolutions; None for what was asked for.
    """

    features: int = 64
    levels: int = 2
    normalization: str = "none"
    momentum: float = 0.9
    init_name: str = "normal_0.02"
    backend: str | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Compute the logits of images x [B, H, W, C]."""
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
        return DenseFromImage(1, kernel_init=kernel_init, name="Dense_0")(x)[:, 0]
