"""A convolution's three bilinear maps by `lax`'s own convolution and its transposes."""

from typing import Any

import jax

from dgm_jax.core import Array
from dgm_jax.networks.layers.maps import Geometry, over_lanes


def compute(
    a: Array, b: Array, *, which: int, geometry: Geometry, implementation: str, precision: object
) -> Array:
    """Compute one of the maps, all lanes at once.

    Args:
        a: the first operand, with lanes.
        b: the second.
        which: the map's number.
        geometry: the other sizes.
        implementation: ignored; it is a choice on CPU.
        precision: of the products, as in `lax`.

    Returns:
        The result, with lanes.
    """
    del implementation
    one_lane = MAPS[which]
    return over_lanes(lambda a, b: one_lane(a, b, geometry, precision), a, b, at_once=True)


def forward(x: Array, w: Array, geometry: Geometry, precision: Any = None) -> Array:
    """Convolve images with a kernel by `lax.conv_general_dilated`.

    Args:
        x: [B, H, W, C].
        w: [kh, kw, C, N].
        geometry: the other sizes.
        precision: of the products, as in `lax`.

    Returns:
        y [B, H', W', N].
    """
    after = []
    for stride, before, size, taps, out in zip(*geometry, strict=True):
        seen = (out - 1) * stride + taps
        after.append(seen - size - before)
    padding = list(zip(geometry.before, after, strict=True))
    return jax.lax.conv_general_dilated(
        x,
        w,
        geometry.stride,
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )


def _input_gradient(y: Array, w: Array, geometry: Geometry, precision: Any = None) -> Array:
    x = jax.ShapeDtypeStruct((y.shape[0], *geometry.size, w.shape[2]), y.dtype)
    transpose = jax.linear_transpose(lambda x: forward(x, w, geometry, precision), x)
    (gradient,) = transpose(y)
    return gradient


def _kernel_gradient(x: Array, y: Array, geometry: Geometry, precision: Any = None) -> Array:
    w = jax.ShapeDtypeStruct((*geometry.kernel, x.shape[3], y.shape[3]), y.dtype)
    transpose = jax.linear_transpose(lambda w: forward(x, w, geometry, precision), w)
    (gradient,) = transpose(y)
    return gradient


MAPS = (forward, _input_gradient, _kernel_gradient)
