"""Batch, group and layer normalisation for any position of the channel axis."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgm_jax import core
from dgm_jax.core import Array


def _per_channel(vector, x, axis):
    shape = [1] * x.ndim
    shape[axis] = vector.shape[0]
    return vector.reshape(shape)


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy 2015): (x - mean) / sqrt(var + epsilon) * scale + bias
    per channel.

    With `train` the mean and the biased variance are those of the batch, over all axes but `axis`,
    and the running averages move: average <- momentum * average + (1 - momentum) * batch value
    (momentum is the share that is kept: .9 is PyTorch's .1). Without `train` the running averages
    are used and nothing changes. Parameters `scale`, `bias` and collection `batch_stats` (`mean`,
    `var`) carry flax's names; the running variance is the biased one, as in flax.
    """

    axis: int = -1
    momentum: float = 0.9
    epsilon: float = 1e-5
    use_scale: bool = True
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        axis = self.axis % x.ndim
        channels = x.shape[axis]
        mean_average = self.variable(
            "batch_stats", "mean", lambda: jnp.zeros((channels,), jnp.float32)
        )
        var_average = self.variable(
            "batch_stats", "var", lambda: jnp.ones((channels,), jnp.float32)
        )
        if train:
            others = tuple(a for a in range(x.ndim) if a != axis)
            mean = jnp.mean(x, others)
            var = jnp.mean(jnp.square(x - _per_channel(mean, x, axis)), others)
            if not self.is_initializing():
                for average, value in ((mean_average, mean), (var_average, var)):
                    average.value = self.momentum * average.value + (
                        1 - self.momentum
                    ) * jax.lax.stop_gradient(value)
        else:
            mean, var = mean_average.value, var_average.value
        factor = jax.lax.rsqrt(var + self.epsilon)
        if self.use_scale:
            factor = factor * self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        y = (x - _per_channel(mean, x, axis)) * _per_channel(factor, x, axis)
        if self.use_bias:
            y = y + _per_channel(
                self.param("bias", nn.initializers.zeros, (channels,), jnp.float32), x, axis
            )
        return y


class GroupNorm(nn.Module):
    """Group normalisation (Wu and He 2018) per example, over the channels of a group and all
    positions.

    x has its channels on `axis` and its examples on `batch_axis` (internal images on CPU: 0 and
    -1). `num_groups=1` is layer normalisation over the whole image. Parameters `scale`, `bias` per
    channel.
    """

    num_groups: int = 32
    axis: int = -1
    batch_axis: int = 0
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Array) -> Array:
        axis, batch = self.axis % x.ndim, self.batch_axis % x.ndim
        channels = x.shape[axis]
        core.require(
            channels % self.num_groups == 0,
            f"group norm needs a number of channels divisible by num_groups={self.num_groups}, got"
            f" {channels}",
        )
        grouped = x.reshape(
            x.shape[:axis] + (self.num_groups, channels // self.num_groups) + x.shape[axis + 1 :]
        )
        kept = {axis, batch + (batch > axis)}
        others = tuple(a for a in range(grouped.ndim) if a not in kept)
        mean = jnp.mean(grouped, others, keepdims=True)
        var = jnp.mean(jnp.square(grouped - mean), others, keepdims=True)
        normal = ((grouped - mean) * jax.lax.rsqrt(var + self.epsilon)).reshape(x.shape)
        scale = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        shift = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        return normal * _per_channel(scale, x, axis) + _per_channel(shift, x, axis)
