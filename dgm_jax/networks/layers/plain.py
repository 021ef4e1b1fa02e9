"""A convolution's three bilinear maps on CPU in plain JAX, each as one convolution of stride 1.

XLA's CPU backend is fast on convolutions of stride 1 in the layouts NHWC, HWIO, NHWC, and slow on
the transposed and dilated ones that `lax` makes for gradients, more so inside a loop. So

    stride s     rows and columns of the images modulo s become channels, and so do those of the
                 kernel, whose size is rounded up to a multiple of s: then the stride is 1;
    gradients    of the input: y with zeros around it, convolved with the flipped kernel; of the
                 kernel: the images convolved with y, where the batch is what is summed over and
                 channels take the place of the batch.

Operands as in `networks.bilinear`, without lanes.
"""

import jax
import jax.numpy as jnp

from dgm_jax.core import Array


def forward(x: Array, w: Array, geometry) -> Array:
    """x [B, H, W, C], w [kh, kw, C, N] -> y [B, H', W', N]."""
    return _convolve(_blocks_of_images(x, geometry), _blocks_of_kernel(w, geometry))


def input_gradient(y: Array, w: Array, geometry) -> Array:
    """y [B, H', W', N], w [kh, kw, C, N] -> [B, H, W, C]."""
    w = _blocks_of_kernel(w, geometry)
    above, left = w.shape[0] - 1, w.shape[1] - 1
    y = jnp.pad(y, ((0, 0), (above, above), (left, left), (0, 0)))
    blocks = _convolve(y, w[::-1, ::-1].transpose(0, 1, 3, 2))
    (sh, sw), (batch, rows, columns, width) = geometry.stride, blocks.shape
    channels = width // (sh * sw)
    x = blocks.reshape(batch, rows, columns, sh, sw, channels).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(batch, rows * sh, columns * sw, channels)
    return _shift(x, [-before for before in geometry.before], geometry.size)


def kernel_gradient(x: Array, y: Array, geometry) -> Array:
    """x [B, H, W, C], y [B, H', W', N] -> [kh, kw, C, N]."""
    # Else XLA takes the zeros around the images into the convolution, finds y larger than the
    # images, exchanges the two, and falls to its slowest loop.
    x = jax.lax.optimization_barrier(_blocks_of_images(x, geometry))
    w = _convolve(x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3)).transpose(1, 2, 0, 3)
    (sh, sw), (rows, columns, width, features) = geometry.stride, w.shape
    channels = width // (sh * sw)
    w = w.reshape(rows, columns, sh, sw, channels, features).transpose(0, 2, 1, 3, 4, 5)
    kh, kw = geometry.kernel
    return w.reshape(rows * sh, columns * sw, channels, features)[:kh, :kw]


MAPS = (forward, input_gradient, kernel_gradient)


def _convolve(x, w):
    """Stride 1, no padding; [B, H, W, C] with [kh, kw, C, N]."""
    return jax.lax.conv_general_dilated(
        x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _shift(x, before, size):
    """Images with so many rows and columns of zeros before (fewer where negative) and of that
    size."""
    zero = jnp.zeros((), x.dtype)
    pads = [(b, s - n - b, 0) for b, s, n in zip(before, size, x.shape[1:3], strict=True)]
    return jax.lax.pad(x, zero, [(0, 0, 0), *pads, (0, 0, 0)])


def _blocks_of_images(x, geometry):
    """[B, H, W, C] -> [B, rows, columns, sh sw C]: what the kernel sees, in blocks of the
    stride."""
    (sh, sw), batch, channels = geometry.stride, x.shape[0], x.shape[3]
    rows, columns = (
        out - 1 - (-taps // stride)
        for out, taps, stride in zip(geometry.out, geometry.kernel, geometry.stride, strict=True)
    )
    x = _shift(x, geometry.before, (rows * sh, columns * sw))
    x = x.reshape(batch, rows, sh, columns, sw, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, rows, columns, sh * sw * channels)


def _blocks_of_kernel(w, geometry):
    """[kh, kw, C, N] -> [rows, columns, sh sw C, N], with zeros where a block is not full."""
    (kh, kw), (sh, sw), (channels, features) = geometry.kernel, geometry.stride, w.shape[2:]
    rows, columns = -(-kh // sh), -(-kw // sw)
    w = jnp.pad(w, ((0, rows * sh - kh), (0, columns * sw - kw), (0, 0), (0, 0)))
    w = w.reshape(rows, sh, columns, sw, channels, features).transpose(0, 2, 1, 3, 4, 5)
    return w.reshape(rows, columns, sh * sw * channels, features)
