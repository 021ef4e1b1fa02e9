"""Between images and vectors: a convolutional encoder and its mirror, for VAEs and adversarial
variational Bayes.

Two 4x4 convolutions of stride 2 and a dense head; backwards a dense layer and two transposed
convolutions.
"""

import flax.linen as nn

from dgm_jax.core import Array
from dgm_jax.networks.layers import convolution


class ConvolutionalEncoder(nn.Module):
    """Images [B, H, W, C] -> vectors [B, features]; height and width divisible by 4."""

    features: int
    width: int = 32
    hidden: int = 256
    backend: str | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        convolution.require_divisible(x.shape[1], x.shape[2], 2)
        x = nn.relu(convolution.Conv(self.width, (4, 4), 2, backend=self.backend)(x))
        x = nn.relu(convolution.Conv(2 * self.width, (4, 4), 2, backend=self.backend)(x))
        x = nn.relu(convolution.DenseFromImage(self.hidden)(x))
        return nn.Dense(self.features)(x)


class ConvolutionalDecoder(nn.Module):
    """Vectors [B, D] -> numbers [B, H, W, C] for each pixel, such as logits; height and width
    divisible by 4."""

    image_shape: tuple[int, int, int]
    width: int = 32
    hidden: int = 256
    backend: str | None = None

    @nn.compact
    def __call__(self, z: Array) -> Array:
        height, width, channels = self.image_shape
        convolution.require_divisible(height, width, 2)
        x = nn.relu(nn.Dense(self.hidden)(z))
        shape = (height // 4, width // 4, 2 * self.width)
        x = nn.relu(convolution.DenseToImage(shape)(x))
        x = nn.relu(convolution.ConvTranspose(self.width, backend=self.backend)(x))
        return convolution.ConvTranspose(channels, backend=self.backend)(x)
