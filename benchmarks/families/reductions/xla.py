"""By XLA's own reductions and convolutions."""

import jax
import jax.numpy as jnp

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from benchmarks.families.reductions import operands
from dgm_jax.networks.layers import by_lax


def total(shape: list[int]) -> Case:
    """Sum over all axes but the last."""
    axes = tuple(range(len(shape) - 1))
    return shared.compiled(lambda x: jnp.sum(x, axes), operands.array(shape))


def row_min(shape: list[int]) -> Case:
    """Minima of the rows of one tile after another."""
    tiles = lambda x: jax.lax.map(lambda tile: jnp.min(tile, -1), x)
    return shared.compiled(tiles, operands.array(shape))


def image_gradient(size: int, channels: int, batch: int) -> Case:
    """The transpose of a convolution."""
    y, kernel, geometry = operands.convolution(size, channels, batch)
    x = jax.ShapeDtypeStruct((batch, size, size, channels), y.dtype)

    def gradient(y, w):
        forward = lambda x: by_lax.forward(x, w[0], geometry)
        return jax.linear_transpose(forward, x)(y[0])[0][None]

    return shared.compiled(gradient, y, kernel)
