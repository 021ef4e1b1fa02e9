"""The convolution, the upsampling and the layout that every image model uses.

Images come and go as [B, H, W, C]. Inside a network they are in the *internal* layout of
a backend, converted once at the entrance and once at the exit:

    backend     internal layout   convolution                              for
    "products"  [C, H, W, B]      matrix products (`networks.products`)    CPU
    "lax"       [B, H, W, C]      `lax.conv_general_dilated`               GPU, TPU

`backend=None` takes the one for `jax.default_backend()`. Parameters have one layout,
flax's: kernel [kh, kw, in, out], bias [out]; they move freely between backends and to and
from `flax.linen.Conv` and `flax.linen.ConvTranspose`. PyTorch's Conv2d weight is
`kernel.transpose(3, 2, 0, 1)`, its ConvTranspose2d weight (padding 1 for 4x4, stride 2)
`kernel[::-1, ::-1].transpose(2, 3, 0, 1)`.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgm_jax import core
from dgm_jax.core import Array
from dgm_jax.networks import initializers, products
from dgm_jax.networks.normalization import BatchNorm, GroupNorm

BACKENDS = ("products", "lax")


def resolve_backend(backend: str | None = None) -> str:
    """The backend's name; for None, "products" on CPU and "lax" elsewhere. ConfigError for another
    name."""
    if backend is None:
        return "products" if jax.default_backend() == "cpu" else "lax"
    return core.lookup({name: name for name in BACKENDS}, backend, "convolution backend")


def require_divisible(height: int, width: int, levels: int) -> None:
    """ConfigError unless an image can be halved so many times."""
    step = 2**levels
    core.require(
        height % step == 0 and width % step == 0,
        f"{levels} levels of stride 2 need a height and width divisible by {step}, got"
        f" {height, width}",
    )


def to_internal(x: Array, backend: str | None = None) -> Array:
    """[B, H, W, C] -> the internal layout."""
    core.require(
        x.ndim == 4, f"images must have the shape [B, H, W, C], got {x.shape}", core.DataError
    )
    return x.transpose(3, 1, 2, 0) if resolve_backend(backend) == "products" else x


def from_internal(x: Array, backend: str | None = None) -> Array:
    """The internal layout -> [B, H, W, C]."""
    return x.transpose(3, 1, 2, 0) if resolve_backend(backend) == "products" else x


def channel_axis(backend: str | None = None) -> int:
    """Where the channels of the internal layout are."""
    return 0 if resolve_backend(backend) == "products" else -1


def _pads(padding, sizes, kernel_size, stride) -> tuple[tuple[int, int], ...]:
    """((top, bottom), (left, right)); "SAME" puts the odd zero after, as lax and TensorFlow do."""
    if padding == "VALID":
        return ((0, 0), (0, 0))
    if padding == "SAME":
        totals = [
            max((-(-n // stride) - 1) * stride + k - n, 0)
            for n, k in zip(sizes, kernel_size, strict=True)
        ]
        return tuple((total // 2, total - total // 2) for total in totals)
    core.require(
        not isinstance(padding, str),
        f"padding must be 'SAME', 'VALID' or pairs of numbers, got {padding!r}",
    )
    return tuple((int(before), int(after)) for before, after in padding)


def conv(
    x: Array,
    kernel: Array,
    *,
    stride: int = 1,
    padding: str | tuple = "SAME",
    backend: str | None = None,
) -> Array:
    """Cross-correlation of x in the internal layout with kernel [kh, kw, in, out]; the same for
    both backends.

    padding: "SAME" (lax's), "VALID", or ((top, bottom), (left, right)).
    """
    backend = resolve_backend(backend)
    sizes, channels = (x.shape[1:3], x.shape[channel_axis(backend)])
    core.require(
        kernel.shape[2] == channels,
        f"the kernel {kernel.shape} takes {kernel.shape[2]} channels, got {channels}",
    )
    pads = _pads(padding, sizes, kernel.shape[:2], stride)
    if backend == "products":
        return products.conv(x, kernel, stride, pads)
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def conv_transpose(
    x: Array, kernel: Array, *, stride: int = 2, backend: str | None = None
) -> Array:
    """Upsampling by `stride`: the transpose of the "SAME" convolution with the spatially flipped
    kernel.

    x in the internal layout, [H, W] -> [stride H, stride W]; kernel [kh, kw, in, out] as in
    `lax.conv_transpose` and `flax.linen.ConvTranspose` (which do not flip it).
    """
    backend = resolve_backend(backend)
    channels = x.shape[channel_axis(backend)]
    core.require(
        kernel.shape[2] == channels,
        f"the kernel {kernel.shape} takes {kernel.shape[2]} channels, got {channels}",
    )
    if backend == "lax":
        return jax.lax.conv_transpose(
            x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    size = (stride * x.shape[1], stride * x.shape[2])
    flipped = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    return products.conv_adjoint(
        x, flipped, stride, _pads("SAME", size, kernel.shape[:2], stride), size
    )


class Conv(nn.Module):
    """Convolution of an image in the internal layout, with `flax.linen.Conv`'s parameters."""

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
        axis = channel_axis(self.backend)
        shape = (*self.kernel_size, x.shape[axis], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        y = conv(x, kernel, stride=self.stride, padding=self.padding, backend=self.backend)
        return _add_bias(self, y, axis)


class ConvTranspose(nn.Module):
    """Upsampling by `stride` in the internal layout, with `flax.linen.ConvTranspose`'s
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
        axis = channel_axis(self.backend)
        shape = (*self.kernel_size, x.shape[axis], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        return _add_bias(
            self, conv_transpose(x, kernel, stride=self.stride, backend=self.backend), axis
        )


def _add_bias(module, y, axis):
    if not module.use_bias:
        return y
    bias = module.param("bias", module.bias_init, (module.features,), jnp.float32)
    return y + (bias[:, None, None, None] if axis == 0 else bias)


class DenseToImage(nn.Module):
    """A dense layer from vectors [B, D] to an image of shape (H, W, C) in the internal layout.

    Parameters are those of a dense layer whose output is reshaped to [B, H, W, C]: kernel [D, H W
    C].
    """

    shape: tuple[int, int, int]
    use_bias: bool = True
    kernel_init: Callable = initializers.weights("he")
    backend: str | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        height, width, channels = self.shape
        size = height * width * channels
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], size), jnp.float32)
        bias = (
            self.param("bias", nn.initializers.zeros, (size,), jnp.float32)
            if self.use_bias
            else None
        )
        if resolve_backend(self.backend) == "lax":
            y = x @ kernel if bias is None else x @ kernel + bias
            return y.reshape(-1, *self.shape)
        y = kernel.T @ x.T
        y = y if bias is None else y + bias[:, None]
        return y.reshape(*self.shape, -1).transpose(2, 0, 1, 3)


class DenseFromImage(nn.Module):
    """A dense layer from an image in the internal layout to vectors [B, features].

    Parameters are those of a dense layer on images [B, H, W, C] flattened to [B, H W C].
    """

    features: int
    use_bias: bool = True
    kernel_init: Callable = initializers.weights("he")
    backend: str | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        if resolve_backend(self.backend) == "lax":
            flat = x.reshape(x.shape[0], -1)
        else:
            flat = x.transpose(1, 2, 0, 3).reshape(-1, x.shape[-1]).T
        kernel = self.param(
            "kernel", self.kernel_init, (flat.shape[-1], self.features), jnp.float32
        )
        y = flat @ kernel
        return (
            y + self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
            if self.use_bias
            else y
        )


def batch_norm(backend: str | None = None, **settings) -> BatchNorm:
    """`BatchNorm` over the channels of the internal layout."""
    return BatchNorm(axis=channel_axis(backend), **settings)


def group_norm(num_groups: int, backend: str | None = None, **settings) -> GroupNorm:
    """`GroupNorm` over the channels of the internal layout; `num_groups=1` is layer
    normalisation."""
    axis = channel_axis(backend)
    return GroupNorm(num_groups, axis=axis, batch_axis=-1 if axis == 0 else 0, **settings)
