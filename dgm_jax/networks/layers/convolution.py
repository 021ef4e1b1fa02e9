"""The convolution and the upsampling that every image model uses. Images are [B, H, W, C].

Three implementations stand behind one name (`backend`):

    "lax"      `lax.conv_general_dilated`                         GPU, TPU
    "onednn"   oneDNN's kernels (`native.onednn`)                 CPU, float32 and bfloat16
    "plain"    convolutions of stride 1 (`networks.plain`)        CPU, where oneDNN cannot be used

`backend=None` takes what was asked for (`native.asked`): `use_convolutions`, the environment
variable DGM_JAX_CONVOLUTIONS, or else "auto", which is decided when the program is lowered, by the
platform that it is lowered for. Traced as "onednn" or "plain" and lowered for another platform
than CPU, a program holds lax's convolutions, too. Types and processors that oneDNN has no kernel
for (float64, float16; bfloat16 before AVX-512) are computed by "plain".

Parameters are flax's: kernel [kh, kw, in, out], bias [out]; they move freely between backends and
to and from `flax.linen.Conv` and `flax.linen.ConvTranspose`. PyTorch's Conv2d weight is
`kernel.transpose(3, 2, 0, 1)`, its ConvTranspose2d weight (padding 1 for 4x4, stride 2)
`kernel[::-1, ::-1].transpose(2, 3, 0, 1)`.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgm_jax import core
from dgm_jax.core import Array
from dgm_jax.native import asked
from dgm_jax.networks.layers import bilinear, initializers


def require_divisible(height: int, width: int, levels: int) -> None:
    """ConfigError unless an image can be halved so many times."""
    step = 2**levels
    core.require(
        height % step == 0 and width % step == 0,
        f"{levels} levels of stride 2 need a height and width divisible by {step}, got"
        f" {height, width}",
    )


def same_padding(size, kernel_size, stride: int) -> tuple[tuple[int, int], ...]:
    """((top, bottom), (left, right)) of "SAME" for images of a size (H, W) and a kernel (kh, kw):
    ceil(n / stride) results an axis, the odd zero after, as lax and TensorFlow do."""
    totals = [
        max((-(-n // stride) - 1) * stride + k - n, 0)
        for n, k in zip(size, kernel_size, strict=True)
    ]
    return tuple((total // 2, total - total // 2) for total in totals)


def _pads(padding, size, kernel_size, stride) -> tuple[tuple[int, int], ...]:
    if padding == "VALID":
        return ((0, 0), (0, 0))
    if padding == "SAME":
        return same_padding(size, kernel_size, stride)
    core.require(
        not isinstance(padding, str),
        f"padding must be 'SAME', 'VALID' or pairs of numbers, got {padding!r}",
    )
    pads = tuple((int(before), int(after)) for before, after in padding)
    core.require(
        len(pads) == 2 and min(map(min, pads)) >= 0,
        f"padding must be ((top, bottom), (left, right)), none of them negative, got {padding}",
    )
    return pads


def _geometry(size, kernel_size, stride, pads) -> bilinear.Geometry:
    out = tuple(
        (n + sum(p) - k) // stride + 1 for n, p, k in zip(size, pads, kernel_size, strict=True)
    )
    core.require(
        min(out) >= 0,
        f"a kernel of {kernel_size} does not fit images of {size} with padding {pads}",
    )
    before = (pads[0][0], pads[1][0])
    return bilinear.Geometry((stride, stride), before, tuple(size), tuple(kernel_size), out)


def _checked(x, kernel, stride):
    """Both of one floating type; DataError or ConfigError for what does not fit."""
    core.require(stride >= 1, f"stride must be at least 1, got {stride}")
    x, kernel = jnp.asarray(x), jnp.asarray(kernel)
    core.require(
        x.ndim == 4, f"images must have the shape [B, H, W, C], got {x.shape}", core.DataError
    )
    core.require(
        kernel.ndim == 4 and kernel.shape[2] == x.shape[3],
        f"the kernel {kernel.shape} does not take {x.shape[3]} channels",
    )
    dtype = jnp.result_type(x, kernel)
    dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.float32
    return x.astype(dtype), kernel.astype(dtype)


def conv(
    x: Array,
    kernel: Array,
    *,
    stride: int = 1,
    padding: str | tuple = "SAME",
    backend: str | None = None,
) -> Array:
    """Cross-correlation of x [B, H, W, C] with kernel [kh, kw, C, N]; [B, H', W', N].

    padding: "SAME" (lax's), "VALID", or ((top, bottom), (left, right)).
    Raises DataError for images of another rank, ConfigError for a kernel that does not fit.
    """
    x, kernel = _checked(x, kernel, stride)
    kernel_size = kernel.shape[:2]
    pads = _pads(padding, x.shape[1:3], kernel_size, stride)
    geometry = _geometry(x.shape[1:3], kernel_size, stride, pads)
    chosen = asked(backend)
    if chosen == "lax":
        return bilinear.lax_forward(x, kernel, geometry)
    return bilinear.apply(bilinear.FORWARD, x[None], kernel[None], geometry, chosen)[0]


def conv_transpose(
    x: Array, kernel: Array, *, stride: int = 2, backend: str | None = None
) -> Array:
    """Upsampling by `stride`: the transpose of the "SAME" convolution with the spatially flipped
    kernel.

    x [B, H, W, C], kernel [kh, kw, C, N]; [B, stride H, stride W, N]. The kernel is that of
    `lax.conv_transpose` and `flax.linen.ConvTranspose` (which do not flip it).
    Raises DataError for images of another rank, ConfigError for a kernel that does not fit.
    """
    x, kernel = _checked(x, kernel, stride)
    chosen = asked(backend)
    if chosen == "lax":
        return jax.lax.conv_transpose(
            x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    size, kernel_size = (stride * x.shape[1], stride * x.shape[2]), kernel.shape[:2]
    geometry = _geometry(size, kernel_size, stride, same_padding(size, kernel_size, stride))
    flipped = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    return bilinear.apply(bilinear.INPUT_GRADIENT, x[None], flipped[None], geometry, chosen)[0]


class Conv(nn.Module):
    """Convolution of images [B, H, W, C], with `flax.linen.Conv`'s parameters."""

    features: int
    kernel_size: tuple[int, int] = (3, 3)
    stride: int = 1
    padding: str | tuple = "SAME"
    use_bias: bool = True
    kernel_init: Callable = initializers.weights("he")
    bias_init: Callable = nn.initializers.zeros
    backend: str | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        y = conv(x, kernel, stride=self.stride, padding=self.padding, backend=self.backend)
        return _add_bias(self, y)


class ConvTranspose(nn.Module):
    """Upsampling of images [B, H, W, C] by `stride`, with `flax.linen.ConvTranspose`'s
    parameters."""

    features: int
    kernel_size: tuple[int, int] = (4, 4)
    stride: int = 2
    use_bias: bool = True
    kernel_init: Callable = initializers.weights("he")
    bias_init: Callable = nn.initializers.zeros
    backend: str | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        y = conv_transpose(x, kernel, stride=self.stride, backend=self.backend)
        return _add_bias(self, y)


def _add_bias(module, y):
    if not module.use_bias:
        return y
    return y + module.param("bias", module.bias_init, (module.features,), jnp.float32)


class DenseToImage(nn.Module):
    """A dense layer from vectors [B, D] to images [B, H, W, C] of the shape (H, W, C)."""

    shape: tuple[int, int, int]
    use_bias: bool = True
    kernel_init: Callable = initializers.weights("he")

    @nn.compact
    def __call__(self, x: Array) -> Array:
        size = math.prod(self.shape)
        y = x @ self.param("kernel", self.kernel_init, (x.shape[-1], size), jnp.float32)
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (size,), jnp.float32)
        return y.reshape(-1, *self.shape)


class DenseFromImage(nn.Module):
    """A dense layer from images [B, H, W, C], flattened to [B, H W C], to vectors [B, features]."""

    features: int
    use_bias: bool = True
    kernel_init: Callable = initializers.weights("he")

    @nn.compact
    def __call__(self, x: Array) -> Array:
        flat = x.reshape(x.shape[0], -1)
        shape = (flat.shape[-1], self.features)
        y = flat @ self.param("kernel", self.kernel_init, shape, jnp.float32)
        if not self.use_bias:
            return y
        return y + self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
