"""Batch, group and layer normalisation, by class and by name; channels are the last axis."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgm_jax import core
from dgm_jax.core import Array


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy 2015): (x - mean) / sqrt(var + epsilon) * scale + bias
    per channel.

    With `train` the mean and the biased variance are those of the batch, over all axes but the
    last, and the running averages move:
    average <- momentum * average + (1 - momentum) * batch value
    (momentum is the share that is kept: .9 is PyTorch's .1). Without `train` the running averages
    are used and nothing changes. Parameters `scale`, `bias` and collection `batch_stats` (`mean`,
    `var`) carry flax's names; the running variance is the biased one, as in flax.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    use_scale: bool = True
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        channels = x.shape[-1]
        x = core.at_least_float32(x)
        mean_average = self.variable(
            "batch_stats", "mean", lambda: jnp.zeros((channels,), jnp.float32)
        )
        var_average = self.variable(
            "batch_stats", "var", lambda: jnp.ones((channels,), jnp.float32)
        )
        if train:
            others = tuple(range(x.ndim - 1))
            mean = jnp.mean(x, others)
            var = jnp.mean(jnp.square(x - mean), others)
            if not self.is_initializing():
                for average, value in ((mean_average, mean), (var_average, var)):
                    moved = self.momentum * average.value + (
                        1 - self.momentum
                    ) * jax.lax.stop_gradient(value)
                    average.value = moved.astype(average.value.dtype)
        else:
            mean, var = mean_average.value, var_average.value
        factor = jax.lax.rsqrt(var + self.epsilon)
        if self.use_scale:
            factor = factor * self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        y = (x - mean) * factor
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        return y


class GroupNorm(nn.Module):
    """Group normalisation (Wu and He 2018) per example, over the channels of a group and all
    positions: x [B, ..., C].

    `num_groups=1` is layer normalisation over the whole image. Parameters `scale`, `bias` per
    channel.

    Raises:
        ConfigError: the groups do not share the channels evenly, or a group is one number, of which
            the normalised value would always be 0.
    """

    num_groups: int = 32
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Array) -> Array:
        channels = x.shape[-1]
        core.require(
            channels % self.num_groups == 0,
            f"group norm needs a number of channels divisible by num_groups={self.num_groups}, got"
            f" {channels}",
        )
        core.require(
            math.prod(x.shape[1:]) > self.num_groups,
            f"group norm needs more than one number in each of num_groups={self.num_groups} groups,"
            f" got examples of shape {x.shape[1:]}",
        )
        grouped = core.at_least_float32(x).reshape(
            x.shape[0], -1, self.num_groups, channels // self.num_groups
        )
        mean = jnp.mean(grouped, (1, 3), keepdims=True)
        var = jnp.mean(jnp.square(grouped - mean), (1, 3), keepdims=True)
        normal = ((grouped - mean) * jax.lax.rsqrt(var + self.epsilon)).reshape(x.shape)
        scale = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        shift = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        return normal * scale + shift


def num_groups(normalization: str) -> int | None:
    """The groups that a normalisation's name stands for; None for batch norm.

    Args:
        normalization: "batch", "layer" (one group) or "group_N" (N groups).

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
    """`ConfigError` unless a network can be normalised by this name."""
    if normalization != "none":
        num_groups(normalization)


def normalize(
    normalization: str, index: int, momentum: float = 0.9
) -> Callable[[Array, bool], Array]:
    """The normalisation of a hidden layer, by name; call it within a flax module.

    Args:
        normalization: "none", "batch" (`BatchNorm`), "layer" or "group_N" (`GroupNorm`).
        index: number of the layer, in the name of the submodule (`BatchNorm_0`, `GroupNorm_0`).
        momentum: of batch norm's averages.

    Returns:
        `(x [B, ..., C], train) -> [B, ..., C]`.
    """
    if normalization == "none":
        return lambda x, train: x
    groups = num_groups(normalization)
    if groups is None:
        return BatchNorm(momentum=momentum, name=f"BatchNorm_{index}")
    module = GroupNorm(groups, name=f"GroupNorm_{index}")
    return lambda x, train: module(x)
