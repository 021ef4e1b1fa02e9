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

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import Array

# Up to so many channels of images, `input_gradient` is computed by taps, also instead of oneDNN.
FEW_CHANNELS = 4


class Geometry(NamedTuple):
    """The sizes of a convolution that do not follow from its operands.

    Attributes:
        stride: (rows, columns), as are all others.
        before: zeros above and to the left of the images.
        size: H, W.
        kernel: kh, kw.
        out: H', W'.
    """

    stride: tuple[int, int]
    before: tuple[int, int]
    size: tuple[int, int]
    kernel: tuple[int, int]
    out: tuple[int, int]

    @property
    def is_pointwise(self) -> bool:
        """Whether each pixel is mapped by itself: one tap, stride 1, no padding."""
        return (*self.kernel, *self.stride) == (1, 1, 1, 1) and self.size == self.out


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
    return _convolve(_blocks_of_images(x, geometry), _blocks_of_kernel(w, geometry))


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
    return _shift(x, [-before for before in geometry.before], geometry.size)


def _blocks_by_convolution(y: Array, w: Array) -> Array:
    """The blocks of images that see y: y with zeros around it, convolved with the flipped kernel.

    y [B, H', W', N] and the kernel's blocks [rows, columns, sh sw C, N] give
    [B, H' + rows - 1, W' + columns - 1, sh sw C].
    """
    above = w.shape[0] - 1
    left = w.shape[1] - 1
    y = jnp.pad(y, ((0, 0), (above, above), (left, left), (0, 0)))
    return _convolve(y, w[::-1, ::-1].transpose(0, 1, 3, 2))


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
            pads = ((0, 0), (row, rows - 1 - row), (column, columns - 1 - column), (0, 0))
            blocks.append(jnp.pad(products[:, :, :, row, column], pads))
    return sum(blocks[1:], start=blocks[0]).astype(y.dtype)


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
    return jnp.einsum(sizes, a, b, preferred_element_type=wide).astype(a.dtype)


def _convolve(x: Array, w: Array) -> Array:
    """Stride 1, no padding; [B, H, W, C] with [kh, kw, C, N]."""
    return jax.lax.conv_general_dilated(
        x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _shift(x: Array, before: tuple[int, int] | list[int], size: tuple[int, int]) -> Array:
    """Images of a given size, with that many rows and columns of zeros before (fewer if < 0)."""
    zero = jnp.zeros((), x.dtype)
    pads = [(b, s - n - b, 0) for b, s, n in zip(before, size, x.shape[1:3], strict=True)]
    return jax.lax.pad(x, zero, [(0, 0, 0), *pads, (0, 0, 0)])


def _blocks_of_images(x: Array, geometry: Geometry) -> Array:
    """[B, H, W, C] -> [B, rows, columns, sh sw C]: what the kernel sees, in blocks of the
    stride."""
    sh, sw = geometry.stride
    batch = x.shape[0]
    channels = x.shape[3]
    rows, columns = (
        out - 1 - (-taps // stride)
        for out, taps, stride in zip(geometry.out, geometry.kernel, geometry.stride, strict=True)
    )
    x = _shift(x, geometry.before, (rows * sh, columns * sw))
    x = x.reshape(batch, rows, sh, columns, sw, channels)
    x = x.transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, rows, columns, sh * sw * channels)


def _blocks_of_kernel(w: Array, geometry: Geometry) -> Array:
    """[kh, kw, C, N] -> [rows, columns, sh sw C, N], with zeros where a block is not full."""
    kh, kw = geometry.kernel
    sh, sw = geometry.stride
    channels, features = w.shape[2:]
    rows = -(-kh // sh)
    columns = -(-kw // sw)
    w = jnp.pad(w, ((0, rows * sh - kh), (0, columns * sw - kw), (0, 0), (0, 0)))
    w = w.reshape(rows, sh, columns, sw, channels, features)
    w = w.transpose(0, 2, 1, 3, 4, 5)
    return w.reshape(rows, columns, sh * sw * channels, features)
