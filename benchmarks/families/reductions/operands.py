"""What all sides get."""

import jax.numpy as jnp

from benchmarks.families._shared import engine as shared
from dgm_jax.core import Array
from dgm_jax.networks.layers.maps import Geometry

FEATURES = 64


def array(shape: list[int]) -> Array:
    """Normal numbers."""
    return jnp.asarray(shared.normal(*shape))


def convolution(size: int, channels: int, batch: int) -> tuple[Array, Array, Geometry]:
    """Gradients y [1, B, H/2, W/2, 64], a kernel [1, 4, 4, C, 64], and sizes; stride 2."""
    half = (size // 2, size // 2)
    y = array([1, batch, *half, FEATURES])
    kernel = array([1, 4, 4, channels, FEATURES])
    return y, kernel, Geometry((2, 2), (1, 1), (size, size), (4, 4), half)
