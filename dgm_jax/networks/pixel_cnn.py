"""A gated PixelCNN: masked convolutions over a grid of codes (van den Oord et al. 2016b).

Two stacks read what comes before a position in raster order. The *vertical* stack sees all rows
above; the *horizontal* stack sees the codes to the left in the same row and, through a 1x1
convolution, the vertical stack. Together they see every earlier position and leave no blind spot
(figure 1, right, of the paper).

The position of a kernel replaces the masks of the paper, so no product with a masked zero is
computed:

    vertical    mask A   shift down by one row       B   kernel (1 + k // 2, k), zeros above only
    horizontal  mask A   shift right by one column   B   kernel (1, 1 + k // 2), zeros on the left

A single shift at the input is mask A of the first layer; the layers after it have mask B.
"""

from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgm_jax import core
from dgm_jax.core import Array, Key, PyTree
from dgm_jax.networks.causal import CausalNetwork, require_tokens
from dgm_jax.networks.layers import initializers
from dgm_jax.networks.layers.convolution import Conv


def _shift(x: Array, axis: int) -> Array:
    """x shifted by one position along an axis, with zeros at the first position."""
    last = x.shape[axis] - 1
    moved = jax.lax.slice_in_dim(x, 0, last, axis=axis)
    padding = [(0, 0)] * x.ndim
    padding[axis] = (1, 0)
    return jnp.pad(moved, padding)


def _gate(x: Array) -> Array:
    """tanh(a) sigmoid(b) of the two halves of the channels (van den Oord et al. 2016b, eq. 2)."""
    a, b = jnp.split(x, 2, -1)
    return jnp.tanh(a) * nn.sigmoid(b)


class GatedPixelCNN(nn.Module):
    """Codes int[B, H, W] -> logits float32[B, H, W, num_codes] of p(code | earlier codes).

    The order is raster scan: rows from top to bottom, each from left to right.

    A position sees L (k-1)/2 + 1 rows above and L (k-1)/2 columns to each side of it there, and
    L (k-1)/2 + 1 codes to its left, for L layers: all that come before it if
    H - 1 <= L (k-1)/2 + 1 and W - 1 <= L (k-1)/2.

    Attributes:
        num_codes: codes lie in 0..num_codes-1.
        width: channels of both stacks.
        num_layers: L, gated layers.
        kernel_size: k, odd.
        hidden: channels of the 1x1 convolution before the logits.
        backend: of the convolutions; None for what was asked for.

    Raises:
        ConfigError: sizes that do not fit.
        DataError: the codes are not integers [B, H, W].
    """

    num_codes: int
    width: int = 32
    num_layers: int = 6
    kernel_size: int = 5
    hidden: int = 64
    backend: str | None = None

    @nn.compact
    def __call__(self, codes: Array) -> Array:
        """Compute the logits of all positions at once."""
        _check(self)
        codes = jnp.asarray(codes)
        fits = codes.ndim == 3 and jnp.issubdtype(codes.dtype, jnp.integer)
        core.require(
            fits,
            f"codes must be integers [B, H, W], got {codes.dtype}{list(codes.shape)}",
            core.DataError,
        )
        shape = (self.num_codes, self.width)
        embedding = self.param("code_embedding", lambda key: initializers.normal(key, shape))
        x = embedding[codes]
        vertical = _shift(x, 1)
        horizontal = _shift(x, 2)
        for layer in range(self.num_layers):
            vertical, horizontal = self._layer(vertical, horizontal, layer)
        for name, features in (("hidden", self.hidden), ("logits", self.num_codes)):
            pointwise = self._conv(features, (1, 1), "VALID", name)
            horizontal = pointwise(nn.relu(horizontal))
        return horizontal.astype(jnp.float32)

    def _conv(
        self, features: int, kernel_size: tuple[int, int], padding: str | tuple, name: str
    ) -> Conv:
        return Conv(
            features,
            kernel_size,
            padding=padding,
            kernel_init=initializers.weights("he", 0.7),
            backend=self.backend,
            name=name,
        )

    def _layer(self, vertical: Array, horizontal: Array, layer: int) -> tuple[Array, Array]:
        """One gated layer with mask B (van den Oord et al. 2016b, figure 2)."""
        half = self.kernel_size // 2
        double = 2 * self.width  # a gate takes two halves
        kernel = (half + 1, self.kernel_size)
        padding = ((half, 0), (half, half))
        of_rows = self._conv(double, kernel, padding, f"vertical_{layer}")
        kernel = (1, half + 1)
        padding = ((0, 0), (half, 0))
        of_columns = self._conv(double, kernel, padding, f"horizontal_{layer}")
        joint = self._conv(double, (1, 1), "VALID", f"joint_{layer}")
        residual = self._conv(self.width, (1, 1), "VALID", f"residual_{layer}")
        above = of_rows(vertical)
        left = of_columns(horizontal)
        left = left + joint(above)
        vertical = _gate(above)
        change = residual(_gate(left))
        return vertical, horizontal + change


def _check(module: GatedPixelCNN) -> None:
    core.require_at_least(1, module, "num_codes", "width", "num_layers", "hidden")
    size = module.kernel_size
    fits = size >= 3 and size % 2 == 1
    core.require(fits, f"kernel_size must be odd and at least 3, got {size}")


def from_pixel_cnn(module: GatedPixelCNN, grid: tuple[int, int]) -> CausalNetwork:
    """Make the pure functions of a PixelCNN; it has no cache.

    Args:
        module: the PixelCNN.
        grid: (H, W) of the codes, which become H W tokens in raster order.

    Returns:
        The network over sequences of H W tokens.

    Raises:
        ConfigError: sizes that do not fit.
        DataError: from `logits`, tokens that are not [B, H W].
    """
    _check(module)
    height, width = grid
    core.require(height >= 1 and width >= 1, f"grid must be two positive numbers, got {grid}")
    num_positions = height * width

    def init(key: Key) -> PyTree:
        codes = jnp.zeros((1, height, width), jnp.int32)
        variables = module.init(key, codes)
        return variables["params"]

    def logits(params: PyTree, tokens: Array, key: Key | None = None) -> Array:
        del key  # no dropout
        tokens = require_tokens(tokens, module.num_codes)
        fits = tokens.shape[1] == num_positions
        message = f"tokens must be [B, {num_positions}] for the grid {grid}, got {tokens.shape}"
        core.require(fits, message, core.DataError)
        codes = tokens.reshape(-1, height, width)
        out = cast(Array, module.apply({"params": params}, codes))
        return out.reshape(*tokens.shape, module.num_codes)

    return CausalNetwork(module.num_codes, num_positions, init, logits)
