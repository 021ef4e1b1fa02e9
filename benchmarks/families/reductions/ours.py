"""By the library."""

import jax

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from benchmarks.families.reductions import operands
from dgm_jax import native
from dgm_jax.core import reductions
from dgm_jax.networks.layers import bilinear
from dgm_jax.networks.layers.maps import INPUT_GRADIENT


def total(shape: list[int]) -> Case:
    """Sum over all axes but the last."""
    return shared.compiled(reductions.total, operands.array(shape))


def row_min(shape: list[int]) -> Case:
    """Minima of the rows of one tile after another."""
    tiles = lambda x: jax.lax.map(reductions.row_min, x)
    return shared.compiled(tiles, operands.array(shape))


def image_gradient(size: int, channels: int, batch: int) -> Case:
    """As a decoder's last layer computes it."""
    y, kernel, geometry = operands.convolution(size, channels, batch)
    chosen = native.for_platform("cpu")
    gradient = lambda y, w: bilinear.apply(INPUT_GRADIENT, y, w, geometry, chosen)
    return shared.compiled(gradient, y, kernel)
