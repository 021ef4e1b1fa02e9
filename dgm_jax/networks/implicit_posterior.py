"""Encoders whose density is not known, and a critic of pairs (x, z), for adversarial variational
Bayes.

Mescheder, Nowozin and Geiger 2017, sections 3 and 4 and their public configurations. Every module
takes a pair of vectors [B, X], [B, E]; images are flattened by the caller.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgm_jax.core import Array, require
from dgm_jax.networks.layers.activations import activation
from dgm_jax.networks.layers.dense import Dense
from dgm_jax.networks.mlp import MLP


class NoiseEncoder(nn.Module):
    """(x [B, X], noise [B, E]) -> z [B, features[-1]]: noise enters as further inputs, so q(z | x)
    can be anything."""

    features: tuple[int, ...]
    activation: str = "elu"
    init_name: str = "glorot"

    @nn.compact
    def __call__(self, inputs: tuple[Array, Array]) -> Array:
        return MLP(self.features, self.activation, self.init_name)(jnp.concatenate(inputs, axis=-1))


class AdditiveNoiseEncoder(nn.Module):
    """z(x, e) = z_0(x) + sum_i a_i(x) v_i(e_i): an implicit posterior whose first two moments are
    cheap.

    (x [B, X], noise [B, m E']) -> (z, loc, scale), [B, D] each, for m bases; v_i sees the i-th part
    of the noise alone, so with independent parts E z = z_0 + sum_i a_i E v_i and Var z = sum_i
    a_i^2 Var v_i, where the moments of v_i are those of the batch: examples of a batch share them,
    and a batch of one is refused. loc and scale carry no gradient. a_i is elu(. - 5) + 1, which
    starts near zero.
    """

    features: tuple[int, ...]
    latent_size: int
    num_bases: int = 8
    base_features: tuple[int, ...] = (128, 128, 128)
    activation: str = "elu"
    init_name: str = "glorot"
    epsilon: float = 1e-6  # added to the variance, once

    @nn.compact
    def __call__(self, inputs: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        x, noise = inputs
        require(
            noise.shape[0] >= 2,
            f"moments over the batch need at least two examples, got noise {noise.shape}",
        )
        require(
            noise.shape[1] % self.num_bases == 0,
            f"{self.num_bases} bases share the noise evenly, got {noise.shape[1]} numbers",
        )
        function, size = activation(self.activation), self.latent_size
        hidden = function(MLP(self.features, self.activation, self.init_name, name="hidden")(x))
        center = Dense(size, True, self.init_name, name="center")(hidden)
        weights = Dense(self.num_bases * size, True, self.init_name, name="weights")(hidden)
        weights = jax.nn.elu(weights.reshape(-1, self.num_bases, size) - 5.0) + 1.0
        base = nn.vmap(
            MLP, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=1, out_axes=1
        )
        parts = noise.reshape(noise.shape[0], self.num_bases, -1)
        v = base((*self.base_features, size), self.activation, self.init_name, name="bases")(parts)
        z = center + jnp.sum(weights * v, axis=1)
        loc = center + jnp.sum(weights * jnp.mean(v, axis=0), axis=1)
        variance = jnp.sum(jnp.square(weights) * jnp.var(v, axis=0), axis=1) + self.epsilon
        return z, jax.lax.stop_gradient(loc), jax.lax.stop_gradient(jnp.sqrt(variance))


class ResidualCritic(nn.Module):
    """(x [B, X], z [B, D]) -> logits [B]: a dense layer, then blocks h <- elu(h + W_2 relu(W_1 h))
    with W_2 = 0 at the start, then a linear output; the critic of the four-point problem (width
    256, five blocks)."""

    width: int = 256
    num_blocks: int = 5
    init_name: str = "glorot"

    @nn.compact
    def __call__(self, inputs: tuple[Array, Array]) -> Array:
        h = jax.nn.elu(
            Dense(self.width, True, self.init_name, name="input")(jnp.concatenate(inputs, axis=-1))
        )
        for block in range(self.num_blocks):
            inner = jax.nn.relu(Dense(self.width, True, self.init_name, name=f"inner_{block}")(h))
            h = jax.nn.elu(
                h + Dense(self.width, True, self.init_name, 0.0, name=f"outer_{block}")(inner)
            )
        return Dense(1, True, self.init_name, name="output")(h)[..., 0]
