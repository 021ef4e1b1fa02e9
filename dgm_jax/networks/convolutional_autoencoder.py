"""A convolutional encoder from images to vectors and its mirror, for VAEs and adversarial
variational Bayes.

The encoder has two 4x4 convolutions of stride 2 and a dense head, the decoder a dense layer and two
transposed convolutions.
"""

import flax.linen as nn

from dgm_jax.core import Array
from dgm_jax.networks.layers import convolution
from dgm_jax.networks.layers.dense import DenseFromImage, DenseToImage


class ConvolutionalEncoder(nn.Module):
    """Images [B, H, W, C] -> vectors [B, features]; height and width divisible by 4.

    Attributes:
        features: length of the vectors.
        width: channels of the first convolution; the second has twice as many.
        hidden: width of the hidden dense layer.
        backend: of the convolutions; None for what was asked for.
    """

    features: int
    width: int = 32
    hidden: int = 256
    backend: str | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Encode images x [B, H, W, C]."""
        convolution.require_divisible(x.shape[1], x.shape[2], 2)
        x = nn.relu(convolution.Conv(self.width, (4, 4), 2, backend=self.backend)(x))
        x = nn.relu(convolution.Conv(2 * self.width, (4, 4), 2, backend=self.backend)(x))
        x = nn.relu(DenseFromImage(self.hidden)(x))
        return nn.Dense(self.features)(x)


class ConvolutionalDecoder(nn.Module):
    """Vectors [B, D] -> numbers [B, H, W, C] for each pixel, such as logits.

    Attributes:
        image_shape: (H, W, C); height and width divisible by 4.
        width: channels before the last convolution; twice as many before that.
        hidden: width of the hidden dense layer.
        backend: of the convolutions; None for what was asked for.
    """

    image_shape: tuple[int, int, int]
    width: int = 32
    hidden: int = 256
    backend: str | None = None

    @nn.compact
    def __call__(self, z: Array) -> Array:
        """Decode vectors z [B, D]."""
        height, width, channels = self.image_shape
        convolution.require_divisible(height, width, 2)
        x = nn.relu(nn.Dense(self.hidden)(z))
        shape = (height // 4, width // 4, 2 * self.width)
        x = nn.relu(DenseToImage(shape)(x))
        x = nn.relu(convolution.ConvTranspose(self.width, backend=self.backend)(x))
        return convolution.ConvTranspose(channels, backend=self.backend)(x)
