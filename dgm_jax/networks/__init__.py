"""Architectures as flax modules; no network knows a loss.

`layers` holds their building blocks. `mlp`, `dcgan`, `residual`, `classifier`, `pixel_cnn` and
`transformer` are the architectures. `from_flax`, `from_nnx` and `from_functions` make the pair of
pure functions `core.Network`, and `in_precision` computes one in bfloat16.

What needs NNX is imported on first use, since importing flax.nnx takes long.
"""

import importlib
from typing import TYPE_CHECKING

from dgm_jax.networks import classifier, dcgan, layers, mlp, pixel_cnn, residual, transformer
from dgm_jax.networks.adapter import from_flax, from_functions, reshaped
from dgm_jax.networks.causal import CausalNetwork
from dgm_jax.networks.classifier import Classifier
from dgm_jax.networks.convolutional_autoencoder import ConvolutionalDecoder, ConvolutionalEncoder
from dgm_jax.networks.dcgan import Discriminator, Generator
from dgm_jax.networks.implicit_posterior import AdditiveNoiseEncoder, NoiseEncoder, ResidualCritic
from dgm_jax.networks.layers import convolution, initializers, normalization, spectral_norm
from dgm_jax.networks.layers.activations import ACTIVATIONS, activation, leaky_relu
from dgm_jax.networks.layers.convolution import Conv, ConvTranspose
from dgm_jax.networks.layers.dense import Dense, DenseFromImage, DenseToImage
from dgm_jax.networks.layers.initializers import INITIALIZERS
from dgm_jax.networks.layers.normalization import (
    BatchNorm,
    GroupNorm,
    normalize,
    num_groups,
    require_normalization,
)
from dgm_jax.networks.layers.quantize import Quantize
from dgm_jax.networks.layers.spectral_norm import spectral_init, spectral_normalize
from dgm_jax.networks.mlp import MLP
from dgm_jax.networks.narrowing import narrow_products
from dgm_jax.networks.pixel_cnn import GatedPixelCNN, from_pixel_cnn
from dgm_jax.networks.precision import PRECISIONS, in_precision
from dgm_jax.networks.residual import ResidualBlock, ResidualDecoder, ResidualEncoder
from dgm_jax.networks.transformer import Transformer, from_transformer

if TYPE_CHECKING:
    from dgm_jax.networks.layers.nnx_quantize import NnxQuantize, QuantizerState
    from dgm_jax.networks.nnx_adapter import from_nnx

_WITH_NNX = {
    "NnxQuantize": "layers.nnx_quantize",
    "QuantizerState": "layers.nnx_quantize",
    "from_nnx": "nnx_adapter",
}

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "MLP",
    "PRECISIONS",
    "AdditiveNoiseEncoder",
    "BatchNorm",
    "CausalNetwork",
    "Classifier",
    "Conv",
    "ConvTranspose",
    "ConvolutionalDecoder",
    "ConvolutionalEncoder",
    "Dense",
    "DenseFromImage",
    "DenseToImage",
    "Discriminator",
    "GatedPixelCNN",
    "Generator",
    "GroupNorm",
    "NnxQuantize",
    "NoiseEncoder",
    "Quantize",
    "QuantizerState",
    "ResidualBlock",
    "ResidualCritic",
    "ResidualDecoder",
    "ResidualEncoder",
    "Transformer",
    "activation",
    "classifier",
    "convolution",
    "dcgan",
    "from_flax",
    "from_functions",
    "from_nnx",
    "from_pixel_cnn",
    "from_transformer",
    "in_precision",
    "initializers",
    "layers",
    "leaky_relu",
    "mlp",
    "narrow_products",
    "normalization",
    "normalize",
    "num_groups",
    "pixel_cnn",
    "require_normalization",
    "reshaped",
    "residual",
    "spectral_init",
    "spectral_norm",
    "spectral_normalize",
    "transformer",
]


def __getattr__(name: str) -> object:
    """Import the module of a name that needs NNX when the name is first used.

    Args:
        name: the attribute asked for.

    Returns:
        The function or class.

    Raises:
        AttributeError: an unknown name.
    """
    if name not in _WITH_NNX:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WITH_NNX[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
