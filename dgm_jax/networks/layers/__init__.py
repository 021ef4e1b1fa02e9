"""What architectures are made of: convolutions, dense layers, normalization, activations, initial
values, spectral normalization of parameters and quantizing layers.

`convolution` holds the one convolution and the one upsampling of every image model, which
`bilinear` differentiates and `on_cpu`, `plain` and `by_lax` compute; `quantize` holds layers for
any `core.Quantizer`.
"""

from dgm_jax.networks.layers import convolution, initializers, normalization, spectral_norm

__all__ = ["convolution", "initializers", "normalization", "spectral_norm"]
