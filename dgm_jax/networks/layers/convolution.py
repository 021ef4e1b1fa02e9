"""The convolution and the upsampling that every image model uses. Images are [B, H, W, C].

Three implementations stand behind one name (`backend`):

    "lax"      `lax.conv_general_dilated`                         GPU, TPU
    "onednn"   oneDNN's kernels (`native.onednn`)                 CPU, float32 and bfloat16
    "plain"    convolutions of stride 1 (`layers.plain`)          CPU, where oneDNN cannot be used

`backend=None` takes what was asked for (`native.asked`): by `use_convolutions`, by the environment
variable DGM_JAX_CONVOLUTIONS, or else "auto", which is decided when the program is lowered, by the
platform that it is lowered for. On CPU in float32 that is "plain" for convolutions with few
operations, where it is faster, and oneDNN for all others. A program traced as "onednn" or "plain"
and lowered for another platform than CPU uses lax's convolutions, too. "plain" also computes the
types for which oneDNN has no kernel on a processor (float64, float16; bfloat16 before AVX-512).

Parameters are flax's: kernel [kh, kw, in, out], bias [out]; they move freely between backends and
to and from `flax.linen.Conv` and `flax.linen.ConvTranspose`. PyTorch's Conv2d weight is
`kernel.transpose(3, 2, 0, 1)`, its ConvTranspose2d weight (padding 1 for 4x4, stride 2)
`kernel[::-1, ::-1].transpose(2, 3, 0, 1)`.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgm_jax import core
from dgm_jax.core import Array
from dgm_jax.core.reductions import spread
from dgm_jax.native import asked
from dgm_jax.networks.layers import bilinear, by_lax, initializers
from dgm_jax.networks.layers.maps import FORWARD, INPUT_GRADIENT, Geometry

# "SAME", "VALID" or ((top, bottom), (left, right))
Padding = str | tuple


def require_divisible(height: int, width: int, levels: int) -> None:
    """Refuse an image that cannot be halved a given number of times.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        levels: number of convolutions of stride 2.

    Raises:
        ConfigError: height or width is not divisible by 2^levels.
    """
    step = 2**levels
    core.require(
        height % step == 0 and width % step == 0,
        f"{levels} levels of stride 2 need a height and width divisible by {step}, got"
        f" {height, width}",
    )


def same_padding(
    size: Sequence[int], kernel_size: Sequence[int], stride: int
) -> tuple[tuple[int, int], ...]:
    """Compute the padding "SAME": ceil(n / stride) results along an axis of n pixels.

    An odd zero goes after the image, as in lax and TensorFlow.

    Args:
        size: (H, W) of the images.
        kernel_size: (kh, kw).
        stride: in both directions.

    Returns:
        ((top, bottom), (left, right)), numbers of zeros.
    """
    totals = [
        max((-(-n // stride) - 1) * stride + k - n, 0)
        for n, k in zip(size, kernel_size, strict=True)
    ]
    return tuple((total // 2, total - total // 2) for total in totals)


def _pads(
    padding: Padding, size: Sequence[int], kernel_size: Sequence[int], stride: int
) -> tuple[tuple[int, int], ...]:
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


def _geometry(
    size: Sequence[int],
    kernel_size: Sequence[int],
    stride: int,
    pads: tuple[tuple[int, int], ...],
) -> Geometry:
    rows, columns = (
        (n + sum(pad) - k) // stride + 1 for n, pad, k in zip(size, pads, kernel_size, strict=True)
    )
    core.require(
        min(rows, columns) >= 0,
        f"a kernel of {kernel_size} does not fit images of {size} with padding {pads}",
    )
    return Geometry(
        stride=(stride, stride),
        before=(pads[0][0], pads[1][0]),
        size=(size[0], size[1]),
        kernel=(kernel_size[0], kernel_size[1]),
        out=(rows, columns),
    )


def _checked(x: Array, kernel: Array, stride: int) -> tuple[Array, Array]:
    """Images and kernel of one floating type; DataError or ConfigError if they do not fit."""
    core.require(stride >= 1, f"stride must be at least 1, got {stride}")
    x = jnp.asarray(x)
    kernel = jnp.asarray(kernel)
    message = f"images must have the shape [B, H, W, C], got {x.shape}"
    core.require(x.ndim == 4, message, core.DataError)
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
    padding: Padding = "SAME",
    backend: str | None = None,
) -> Array:
    """Cross-correlate images with a kernel.

    Args:
        x: [B, H, W, C].
        kernel: [kh, kw, C, N].
        stride: in both directions.
        padding: "SAME" (lax's), "VALID", or ((top, bottom), (left, right)).
        backend: "lax", "onednn", "plain", or None for what was asked for.

    Returns:
        [B, H', W', N].

    Raises:
        ConfigError: the kernel or the padding does not fit, or the backend cannot be used.
        DataError: the images have another rank.
    """
    x, kernel = _checked(x, kernel, stride)
    kernel_size = kernel.shape[:2]
    pads = _pads(padding, x.shape[1:3], kernel_size, stride)
    geometry = _geometry(x.shape[1:3], kernel_size, stride, pads)
    chosen = asked(backend)
    if chosen == "lax":
        return by_lax.forward(x, kernel, geometry)
    return bilinear.apply(FORWARD, x[None], kernel[None], geometry, chosen)[0]


def conv_transpose(
    x: Array, kernel: Array, *, stride: int = 2, backend: str | None = None
) -> Array:
    """Upsample images: the transpose of the "SAME" convolution with the flipped kernel.

    The kernel is that of `lax.conv_transpose` and `flax.linen.ConvTranspose` (which do not flip
    it).

    Args:
        x: [B, H, W, C].
        kernel: [kh, kw, C, N].
        stride: factor on height and width.
        backend: "lax", "onednn", "plain", or None for what was asked for.

    Returns:
        [B, stride H, stride W, N].

    Raises:
        ConfigError: the kernel does not fit, or the backend cannot be used.
        DataError: the images have another rank.
    """
    x, kernel = _checked(x, kernel, stride)
    chosen = asked(backend)
    if chosen == "lax":
        return jax.lax.conv_transpose(
            x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    size = (stride * x.shape[1], stride * x.shape[2])
    kernel_size = kernel.shape[:2]
    geometry = _geometry(size, kernel_size, stride, same_padding(size, kernel_size, stride))
    flipped = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    return bilinear.apply(INPUT_GRADIENT, x[None], flipped[None], geometry, chosen)[0]


class Conv(nn.Module):
    """Convolution of images, with `flax.linen.Conv`'s parameters.

    Attributes:
        features: output channels.
        kernel_size: (kh, kw).
        stride: in both directions.
        padding: "SAME", "VALID", or ((top, bottom), (left, right)).
        use_bias: whether there is a bias.
        kernel_init: `(key, shape, dtype) -> kernel [kh, kw, C, features]`.
        bias_init: `(key, shape, dtype) -> bias [features]`.
        backend: as in `conv`.
    """

    features: int
    kernel_size: tuple[int, int] = (3, 3)
    stride: int = 1
    padding: Padding = "SAME"
    use_bias: bool = True
    kernel_init: Callable = initializers.weights("he")
    bias_init: Callable = nn.initializers.zeros
    backend: str | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Convolve x [B, H, W, C]."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        y = conv(x, kernel, stride=self.stride, padding=self.padding, backend=self.backend)
        return _add_bias(self, y)


class ConvTranspose(nn.Module):
    """Upsampling of images, with `flax.linen.ConvTranspose`'s parameters.

    Attributes:
        features: output channels.
        kernel_size: (kh, kw).
        stride: factor on height and width.
        use_bias: whether there is a bias.
        kernel_init: `(key, shape, dtype) -> kernel [kh, kw, C, features]`.
        bias_init: `(key, shape, dtype) -> bias [features]`.
        backend: as in `conv_transpose`.
    """

    features: int
    kernel_size: tuple[int, int] = (4, 4)
    stride: int = 2
    use_bias: bool = True
    kernel_init: Callable = initializers.weights("he")
    bias_init: Callable = nn.initializers.zeros
    backend: str | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Upsample x [B, H, W, C]."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        y = conv_transpose(x, kernel, stride=self.stride, backend=self.backend)
        return _add_bias(self, y)


def _add_bias(module: Conv | ConvTranspose, y: Array) -> Array:
    if not module.use_bias:
        return y
    bias = module.param("bias", module.bias_init, (module.features,), jnp.float32)
    return y + spread(bias, y.shape)
