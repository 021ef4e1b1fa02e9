"""A convolution's three bilinear maps on CPU in plain JAX, each as one convolution of stride 1.

XLA's CPU backend is fast on convolutions of stride 1 in the layouts NHWC, HWIO, NHWC, and slow on
the transposed and dilated ones that `lax` makes for gradients, more so inside a loop. So

    stride s     rows and columns of the images modulo s become channels, and so do those of the
                 kernel, whose size is rounded up to a multiple of s: then the stride is 1;
    1x1          a kernel of one tap and stride 1 is a matrix product;
    gradients    of the input: y with zeros around it, convolved with the flipped kernel; of the
                 kernel: the images convolved with y, where the sum runs over the batch and
                 channels take the place of the batch.

Operands are those of `bilinear`, without lanes.
"""

import jax
import jax.numpy as jnp

from dgm_jax.core import Array
from dgm_jax.networks.layers.maps import Geometry

# Up to so many channels of images, `input_gradient` is computed by taps, also instead of oneDNN.
FEW_CHANNELS = 4


def forward(x: Array, w: Array, geometry: Geometry) -> Array:
    """Convolve images with a kernel.

    Args:
        x: [B, H, W, C].
        w: [kh, kw, C, N].
        geometry: the other sizes.

    Returns:
        y [B, H', W', N].
    """
    if geometry.is_pointwise:
        return _product("bijc,cn->bijn", x, w[0, 0])
    images = _blocks_of_images(x, geometry)
    kernel = _blocks_of_kernel(w, geometry)
    return _convolve(images, kernel)


def input_gradient(y: Array, w: Array, geometry: Geometry) -> Array:
    """Apply the transpose of `forward` as a map of the images.

    Args:
        y: [B, H', W', N].
        w: [kh, kw, C, N].
        geometry: the other sizes.

    Returns:
        x [B, H, W, C].
    """
    if geometry.is_pointwise:
        return _product("bijn,cn->bijc", y, w[0, 0])
    few_channels = w.shape[2] <= FEW_CHANNELS
    w = _blocks_of_kernel(w, geometry)
    blocks = _blocks_by_taps(y, w) if few_channels else _blocks_by_convolution(y, w)
    # Each block of the stride is spread over its rows and columns again.
    sh, sw = geometry.stride
    batch, rows, columns, width = blocks.shape
    channels = width // (sh * sw)
    x = blocks.reshape(batch, rows, columns, sh, sw, channels)
    x = x.transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(batch, rows * sh, columns * sw, channels)
    above, left = geometry.before
    return _shift(x, (-above, -left), geometry.size)


def _blocks_by_convolution(y: Array, w: Array) -> Array:
    """The blocks of images that see y: y with zeros around it, convolved with the flipped kernel.

    y [B, H', W', N] and the kernel's blocks [rows, columns, sh sw C, N] give
    [B, H' + rows - 1, W' + columns - 1, sh sw C].
    """
    above = w.shape[0] - 1
    left = w.shape[1] - 1
    y = _surround(y, (above, above), (left, left))
    flipped = w[::-1, ::-1]
    return _convolve(y, flipped.transpose(0, 1, 3, 2))


def _blocks_by_taps(y: Array, w: Array) -> Array:
    """The same as one product for all taps of the kernel, whose results are shifted and added.

    With few channels of images this is several times as fast as a convolution, whose inner loop
    runs over them.
    """
    rows, columns = w.shape[:2]
    wide = jnp.promote_types(y.dtype, jnp.float32)
    products = jnp.einsum("bijn,rcwn->bijrcw", y, w, preferred_element_type=wide)
    blocks = []
    for row in range(rows):
        for column in range(columns):
            product = products[:, :, :, row, column]
            above_below = (row, rows - 1 - row)
            left_right = (column, columns - 1 - column)
            blocks.append(_surround(product, above_below, left_right))
    first, *others = blocks
    total = sum(others, start=first)
    return total.astype(y.dtype)


def kernel_gradient(x: Array, y: Array, geometry: Geometry) -> Array:
    """Apply the transpose of `forward` as a map of the kernel.

    Args:
        x: [B, H, W, C].
        y: [B, H', W', N].
        geometry: the other sizes.

    Returns:
        w [kh, kw, C, N].
    """
    if geometry.is_pointwise:
        return _product("bijc,bijn->cn", x, y)[None, None]
    # Without the barrier XLA merges the zeros around the images into the convolution, finds y
    # larger than the images, exchanges the two, and falls back to its slowest loop.
    x = jax.lax.optimization_barrier(_blocks_of_images(x, geometry))
    images = x.transpose(3, 1, 2, 0)  # channels as the batch, the batch as channels
    kernel = y.transpose(1, 2, 0, 3)
    w = _convolve(images, kernel)
    w = w.transpose(1, 2, 0, 3)
    sh, sw = geometry.stride
    rows, columns, width, features = w.shape
    channels = width // (sh * sw)
    w = w.reshape(rows, columns, sh, sw, channels, features)
    w = w.transpose(0, 2, 1, 3, 4, 5)
    w = w.reshape(rows * sh, columns * sw, channels, features)
    kh, kw = geometry.kernel
    return w[:kh, :kw]


MAPS = (forward, input_gradient, kernel_gradient)


def _product(sizes: str, a: Array, b: Array) -> Array:
    """A product that adds up in at least float32."""
    wide = jnp.promote_types(a.dtype, jnp.float32)
    product = jnp.einsum(sizes, a, b, preferred_element_type=wide)
    return product.astype(a.dtype)


def _convolve(x: Array, w: Array) -> Array:
    """Stride 1, no padding; [B, H, W, C] with [kh, kw, C, N]."""
    return jax.lax.conv_general_dilated(
        x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _surround(x: Array, above_below: tuple[int, int], left_right: tuple[int, int]) -> Array:
    """Images with rows and columns of zeros around them."""
    return jnp.pad(x, ((0, 0), above_below, left_right, (0, 0)))


def _shift(x: Array, before: tuple[int, int], size: tuple[int, int]) -> Array:
    """Images of a given size, with that many rows and columns of zeros before (fewer if < 0)."""
    pads = []
    for num_before, wanted, given in zip(before, size, x.shape[1:3], strict=True):
        num_after = wanted - given - num_before
        pads.append((num_before, num_after, 0))
    none = (0, 0, 0)
    zero = jnp.zeros((), x.dtype)
    return jax.lax.pad(x, zero, [none, *pads, none])


def _blocks_of_images(x: Array, geometry: Geometry) -> Array:
    """[B, H, W, C] -> [B, rows, columns, sh sw C]: what the kernel sees, in blocks of the
    stride."""
    sh, sw = geometry.stride
    batch = x.shape[0]
    channels = x.shape[3]
    kernel_rows, kernel_columns = _kernel_blocks(geometry)
    out_rows, out_columns = geometry.out
    rows = out_rows - 1 + kernel_rows
    columns = out_columns - 1 + kernel_columns
    x = _shift(x, geometry.before, (rows * sh, columns * sw))
    x = x.reshape(batch, rows, sh, columns, sw, channels)
    x = x.transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, rows, columns, sh * sw * channels)


def _kernel_blocks(geometry: Geometry) -> tuple[int, int]:
    """Rows and columns of the kernel in blocks of the stride, rounded up."""
    kh, kw = geometry.kernel
    sh, sw = geometry.stride
    rows = -(-kh // sh)
    columns = -(-kw // sw)
    return rows, columns


def _blocks_of_kernel(w: Array, geometry: Geometry) -> Array:
    """[kh, kw, C, N] -> [rows, columns, sh sw C, N], with zeros where a block is not full."""
    kh, kw = geometry.kernel
    sh, sw = geometry.stride
    channels, features = w.shape[2:]
    rows, columns = _kernel_blocks(geometry)
    below = rows * sh - kh
    right = columns * sw - kw
    w = jnp.pad(w, ((0, below), (0, right), (0, 0), (0, 0)))
    w = w.reshape(rows, sh, columns, sw, channels, features)
    w = w.transpose(0, 2, 1, 3, 4, 5)
    return w.reshape(rows, columns, sh * sw * channels, features)
