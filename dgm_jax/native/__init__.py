"""Code from outside JAX: which implementation computes convolutions, and oneDNN's."""

from dgm_jax.native import compiler, onednn
from dgm_jax.native.choice import CONVOLUTIONS, convolutions, use_convolutions

__all__ = ["CONVOLUTIONS", "compiler", "convolutions", "onednn", "use_convolutions"]
