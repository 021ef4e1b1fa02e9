"""Architectures as flax modules, and the convolution they share; no network knows a loss.

`convolution` holds the one convolution and the one upsampling of every image model, `mlp`,
`dcgan`, `residual` and `classifier` the networks, `quantize` layers for any `core.Quantizer`,
`spectral_norm` a transform of parameters, and `from_flax`, `from_nnx` and `from_functions` make the
pair of pure functions `core.Network`.
"""

from dgm_jax.networks import (
    classifier,
    convolution,
    dcgan,
    initializers,
    masked_convolution,
    mlp,
    normalization,
    residual,
    spectral_norm,
    transformer,
)
from dgm_jax.networks.activations import ACTIVATIONS, activation, leaky_relu
from dgm_jax.networks.adapter import from_flax, from_functions, from_nnx, reshaped
from dgm_jax.networks.classifier import Classifier
from dgm_jax.networks.convolution import (
    Conv,
    ConvTranspose,
    DenseFromImage,
    DenseToImage,
)
from dgm_jax.networks.convolutional import ConvolutionalDecoder, ConvolutionalEncoder
from dgm_jax.networks.dcgan import Discriminator, Generator
from dgm_jax.networks.implicit import AdditiveNoiseEncoder, NoiseEncoder, ResidualCritic
from dgm_jax.networks.initializers import INITIALIZERS
from dgm_jax.networks.masked_convolution import GatedPixelCNN, from_pixel_cnn
from dgm_jax.networks.mlp import MLP, Dense
from dgm_jax.networks.normalization import (
    BatchNorm,
    GroupNorm,
    normalize,
    num_groups,
    require_normalization,
)
from dgm_jax.networks.quantize import NnxQuantize, Quantize, QuantizerState
from dgm_jax.networks.residual import ResidualBlock, ResidualDecoder, ResidualEncoder
from dgm_jax.networks.spectral_norm import spectral_init, spectral_normalize
from dgm_jax.networks.transformer import CausalNetwork, Transformer, from_transformer

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "MLP",
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
    "initializers",
    "leaky_relu",
    "masked_convolution",
    "mlp",
    "normalization",
    "normalize",
    "num_groups",
    "require_normalization",
    "reshaped",
    "residual",
    "spectral_init",
    "spectral_norm",
    "spectral_normalize",
    "transformer",
]
