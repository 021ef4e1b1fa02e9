"""The convolutional encoder and decoder of VQ-VAE and discrete VAEs (van den Oord et al. 2017,
section 4.1).

Two 4x4 convolutions of stride 2 reduce an image to a quarter of its height and width; a 3x3
convolution and two residual blocks (ReLU, 3x3, ReLU, 1x1) follow. The decoder mirrors them with
transposed convolutions.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp

from dgm_jax.core import Array
from dgm_jax.networks.layers import convolution


class ResidualBlock(nn.Module):
    """x + conv 1x1 (ReLU (conv 3x3 (ReLU x))) of images [B, H, W, C], with the channels of x.

    Attributes:
        hidden: channels of the 3x3 convolution.
        backend: of the convolutions; None for what was asked for.
    """

    hidden: int
    backend: str | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map x [B, H, W, C] to the same shape."""
        conv = functools.partial(convolution.Conv, backend=self.backend)
        channels = x.shape[-1]
        inner = conv(self.hidden, (3, 3))
        outer = conv(channels, (1, 1))
        hidden = inner(nn.relu(x))
        return x + outer(nn.relu(hidden))


def _blocks(module: "ResidualEncoder | ResidualDecoder", x: Array) -> Array:
    """The residual blocks of a module, under the same names with and without `remat`."""
    block = nn.remat(ResidualBlock) if module.remat else ResidualBlock
    for i in range(module.num_blocks):
        name = f"ResidualBlock_{i}"
        residual = block(module.residual_width, backend=module.backend, name=name)
        x = residual(x)
    return x


class ResidualEncoder(nn.Module):
    """Images [B, H, W, C] -> [B, H / 4, W / 4, features]; height and width divisible by 4.

    Attributes:
        features: output channels.
        width: channels of the hidden layers.
        residual_width: channels of the bottleneck of each block.
        num_blocks: residual blocks.
        backend: of the convolutions; None for what was asked for.
        remat: whether the backward pass computes the inside of each block anew instead of keeping
            it (Chen et al. 2016, "Training deep nets with sublinear memory cost"): memory for a
            second forward pass, with the same parameters, values and gradients. XLA on CPUs saves
            next to nothing by it.
    """

    features: int
    width: int = 128
    residual_width: int = 32
    num_blocks: int = 2
    backend: str | None = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Encode images x [B, H, W, C]."""
        convolution.require_divisible(x.shape[1], x.shape[2], 2)
        conv = functools.partial(convolution.Conv, backend=self.backend)
        x = conv(self.width // 2, (4, 4), 2)(x)
        x = nn.relu(x)
        x = conv(self.width, (4, 4), 2)(x)
        x = nn.relu(x)
        x = conv(self.width, (3, 3))(x)
        x = _blocks(self, x)
        x = nn.relu(x)
        return conv(self.features, (1, 1))(x)


class ResidualDecoder(nn.Module):
    """Codes [B, h, w, D] -> [B, 4 h, 4 w, features], the mirror of `ResidualEncoder`.

    Attributes:
        features: output channels.
        width: channels of the hidden layers.
        residual_width: channels of the bottleneck of each block.
        num_blocks: residual blocks.
        backend: of the convolutions; None for what was asked for.
        remat: whether the backward pass computes the inside of each block anew instead of keeping
            it (Chen et al. 2016, "Training deep nets with sublinear memory cost"): memory for a
            second forward pass, with the same parameters, values and gradients. XLA on CPUs saves
            next to nothing by it.
    """

    features: int
    width: int = 128
    residual_width: int = 32
    num_blocks: int = 2
    backend: str | None = None
    remat: bool = False

    @nn.compact
    def __call__(self, z: Array) -> Array:
        """Decode z [B, h, w, D]."""
        up = functools.partial(convolution.ConvTranspose, backend=self.backend)
        x = convolution.Conv(self.width, (3, 3), backend=self.backend)(z)
        x = _blocks(self, x)
        x = nn.relu(x)
        x = up(self.width // 2)(x)
        x = nn.relu(x)
        x = up(self.features)(x)
        return x.astype(jnp.float32)
