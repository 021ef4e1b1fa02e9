"""Batch, group and layer normalization, by class and by name; channels are the last axis."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgm_jax import core
from dgm_jax.core import Array
from dgm_jax.core.reductions import channel_mean, spread


class BatchNorm(nn.Module):
    """Batch normalization (Ioffe and Szegedy 2015), per channel.

    (x - mean) / sqrt(var + epsilon) * scale + bias

    With `train` the mean and the biased variance are those of the batch, over all axes but the
    last, and the running averages move:
    average <- momentum * average + (1 - momentum) * batch value.
    Without `train` the running averages are used and nothing changes. Parameters `scale`, `bias`
    and collection `batch_stats` (`mean`, `var`) carry flax's names; the running variance is the
    biased one, as in flax. Half precision is normalized in float32 and comes back in its own type.

    Attributes:
        momentum: share of the average that is kept; 0.9 is PyTorch's 0.1.
        epsilon: added to the variance.
        use_scale: whether there is a learned scale.
        use_bias: whether there is a learned bias.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    use_scale: bool = True
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Normalize x [*B, C]."""
        shape = (x.shape[-1],)
        own_type = _result_type(x)
        x = core.at_least_float32(x)
        mean, var = self._statistics(x, train)
        factor = jax.lax.rsqrt(var + self.epsilon)
        if self.use_scale:
            scale = self.param("scale", nn.initializers.ones, shape, jnp.float32)
            factor = factor * scale
        centered = x - spread(mean, x.shape)
        y = centered * spread(factor, x.shape)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, shape, jnp.float32)
            y = y + spread(bias, x.shape)
        return y.astype(own_type)

    def _statistics(self, x: Array, train: bool) -> tuple[Array, Array]:
        """(mean, variance), [C] each, of the batch or the running ones; moves those in training."""
        shape = (x.shape[-1],)
        running_mean = self.variable("batch_stats", "mean", lambda: jnp.zeros(shape, jnp.float32))
        running_var = self.variable("batch_stats", "var", lambda: jnp.ones(shape, jnp.float32))
        if not train:
            return running_mean.value, running_var.value
        mean = channel_mean(x)
        centered = x - spread(mean, x.shape)
        var = channel_mean(jnp.square(centered))
        if self.is_initializing():
            return mean, var
        for average, value in ((running_mean, mean), (running_var, var)):
            old = average.value
            new = (1 - self.momentum) * jax.lax.stop_gradient(value)
            moved = self.momentum * old + new
            average.value = moved.astype(old.dtype)
        return mean, var


class GroupNorm(nn.Module):
    """Group normalization (Wu and He 2018) of each example.

    Mean and variance are those of the channels of a group at all positions. `num_groups=1` is layer
    normalization over the whole image. Parameters `scale`, `bias` per channel. Half precision is
    normalized in float32 and comes back in its own type.

    Attributes:
        num_groups: groups of adjacent channels.
        epsilon: added to the variance.

    Raises:
        ConfigError: the groups do not divide the channels evenly, or a group is a single number,
            whose normalized value would always be 0.
    """

    num_groups: int = 32
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Normalize x [B, ..., C]."""
        channels = x.shape[-1]
        core.require(
            channels % self.num_groups == 0,
            f"group norm needs a number of channels divisible by num_groups={self.num_groups}, got"
            f" {channels}",
        )
        example_shape = x.shape[1:]
        core.require(
            math.prod(example_shape) > self.num_groups,
            f"group norm needs more than one number in each of num_groups={self.num_groups} groups,"
            f" got examples of shape {example_shape}",
        )
        group_size = channels // self.num_groups
        shape = (x.shape[0], -1, self.num_groups, group_size)
        grouped = core.at_least_float32(x).reshape(shape)
        mean = jnp.mean(grouped, (1, 3), keepdims=True)
        squares = jnp.square(grouped - mean)
        var = jnp.mean(squares, (1, 3), keepdims=True)
        standardized = (grouped - mean) * jax.lax.rsqrt(var + self.epsilon)
        scale = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        shift = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        standardized = standardized.reshape(x.shape)
        y = standardized * scale + shift
        return y.astype(_result_type(x))


def _result_type(x: Array) -> jnp.dtype:
    """The type of normalized images: their own, or float32 for integers."""
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x.dtype
    return jnp.dtype(jnp.float32)


def num_groups(normalization: str) -> int | None:
    """Read the number of groups from the name of a normalization.

    Args:
        normalization: "batch", "layer" (one group) or "group_N" (N groups).

    Returns:
        The number of groups; None for batch norm.

    Raises:
        ConfigError: any other name.
    """
    if normalization == "batch":
        return None
    if normalization == "layer":
        return 1
    kind, _, number = normalization.partition("_")
    core.require(
        kind == "group" and number.isdecimal() and int(number) >= 1,
        "normalization must be 'none', 'batch', 'layer' or 'group_N' with a whole number N of"
        f" groups, such as 'group_8'; got {normalization!r}",
    )
    return int(number)


def require_normalization(normalization: str) -> None:
    """Refuse a name that no normalization of a network has.

    Args:
        normalization: "none", "batch", "layer" or "group_N".

    Raises:
        ConfigError: any other name.
    """
    if normalization != "none":
        num_groups(normalization)


def normalize(
    normalization: str, index: int, momentum: float = 0.9
) -> Callable[[Array, bool], Array]:
    """Create the normalization of a hidden layer by name; call it within a flax module.

    Args:
        normalization: "none", "batch" (`BatchNorm`), "layer" or "group_N" (`GroupNorm`).
        index: number of the layer, in the name of the submodule (`BatchNorm_0`, `GroupNorm_0`).
        momentum: of batch norm's averages.

    Returns:
        `(x [B, ..., C], train) -> [B, ..., C]`.

    Raises:
        ConfigError: any other name.
    """
    if normalization == "none":
        return lambda x, train: x
    groups = num_groups(normalization)
    if groups is None:
        return BatchNorm(momentum=momentum, name=f"BatchNorm_{index}")
    module = GroupNorm(groups, name=f"GroupNorm_{index}")
    return lambda x, train: module(x)
