"""What computes a convolution's three bilinear maps on CPU: oneDNN or plain JAX."""

import functools
import math

import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array
from dgm_jax.native import AUTO, for_platform, onednn
from dgm_jax.networks.layers import plain
from dgm_jax.networks.layers.maps import (
    INPUT_GRADIENT,
    KERNEL_GRADIENT,
    ROLES,
    Geometry,
    over_lanes,
    result_shape,
)

# With fewer operations plain JAX is as fast as oneDNN, whose threads have to meet at the end of
# each call, and with 1x1 kernels it is faster. The three maps of a layer have equally many, so that
# they are computed alike: threads of oneDNN and of XLA that alternate wait for each other.
_FEW_OPERATIONS = 8e7
_FEW_OPERATIONS_1X1 = 4e8


def compute(
    a: Array, b: Array, *, which: int, geometry: Geometry, implementation: str, precision: object
) -> Array:
    """Compute one of the maps, lanes one after the other.

    Args:
        a: the first operand, with lanes.
        b: the second.
        which: the map's number.
        geometry: the other sizes.
        implementation: "onednn" or "plain"; "auto" for what `native.for_platform` says, and for
            `plain` where that is faster.
        precision: ignored, since float32 has one precision on CPU.

    Returns:
        The result, with lanes.
    """
    del precision
    shape = result_shape(which, a, b, geometry)
    if _is_for_onednn(which, a, b, shape, geometry, implementation):
        result = onednn.convolution(a, b, shape, which, geometry.stride, geometry.before)
        return _without_padding_taps(result, geometry) if which == KERNEL_GRADIENT else result
    function = functools.partial(plain.MAPS[which], geometry=geometry)
    return over_lanes(function, a, b, at_once=False)


def _is_for_onednn(
    which: int,
    a: Array,
    b: Array,
    shape: tuple[int, ...],
    geometry: Geometry,
    implementation: str,
) -> bool:
    """Whether oneDNN computes the map, which has a result of this shape."""
    is_auto = implementation == AUTO
    if is_auto:
        implementation = for_platform("cpu")
    if implementation != "onednn" or not onednn.computes(a.dtype):
        return False
    if which == INPUT_GRADIENT and b.shape[3] <= plain.FEW_CHANNELS:
        return False
    return not (is_auto and _is_light(which, a, b, shape, geometry))


def _is_light(which: int, a: Array, b: Array, shape: tuple[int, ...], geometry: Geometry) -> bool:
    """Whether `plain` is faster, in float32, by the times of both in benchmarks/README.md."""
    shapes = dict(zip(ROLES[which], (a.shape, b.shape, shape), strict=True))
    _, batch, rows, columns, _ = shapes["y"]
    _, *kernel = shapes["w"]
    operations = 2 * batch * rows * columns * math.prod(kernel)
    limit = _FEW_OPERATIONS_1X1 if geometry.is_pointwise else _FEW_OPERATIONS
    return a.dtype == jnp.float32 and operations < limit


def _without_padding_taps(gradient: Array, geometry: Geometry) -> Array:
    """The gradient of kernels [L, kh, kw, C, N] with zeros at taps that see nothing but padding.

    oneDNN 3.2 leaves some of them unwritten in bfloat16, so that they hold whatever was in memory
    (observed on a processor with AVX-512 and bfloat16 instructions, with stride 2 or 3 and few
    columns).
    """
    rows, columns = (_sees(*sizes) for sizes in zip(*geometry, strict=True))
    sees_images = rows[:, None] & columns
    if sees_images.all():
        return gradient
    mask = sees_images[:, :, None, None]
    return jnp.where(mask, gradient, jnp.zeros((), gradient.dtype))


def _sees(stride: int, before: int, size: int, taps: int, out: int) -> np.ndarray:
    """bool[taps]: whether a tap ever lies on the images, along one axis."""
    steps = stride * np.arange(out) - before
    pixels = np.arange(taps)[:, None] + steps
    return np.any((pixels >= 0) & (pixels < size), axis=1)
