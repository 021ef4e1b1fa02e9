"""Encoders whose density is not known, and a critic of pairs (x, z), for adversarial variational
Bayes.

They follow Mescheder, Nowozin and Geiger 2017, sections 3 and 4, and their public configurations.
Every module takes a pair of vectors [B, X], [B, E]; the caller flattens images.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dgm_jax.core import Array, at_least_float32, require
from dgm_jax.networks.layers.activations import activation
from dgm_jax.networks.layers.dense import Dense
from dgm_jax.networks.mlp import MLP


class NoiseEncoder(nn.Module):
    """(x [B, X], noise [B, E]) -> z [B, features[-1]].

    Noise is a further input of the network, so q(z | x) can be any distribution.

    Attributes:
        features: widths of the layers; the last one is the length of z.
        activation: a name of `networks.ACTIVATIONS`.
        init_name: a name of `networks.INITIALIZERS`.
    """

    features: tuple[int, ...]
    activation: str = "elu"
    init_name: str = "glorot"

    @nn.compact
    def __call__(self, inputs: tuple[Array, Array]) -> Array:
        """Draw z for (x, noise)."""
        network = MLP(self.features, self.activation, self.init_name)
        joint = jnp.concatenate(inputs, axis=-1)
        return network(joint)


class AdditiveNoiseEncoder(nn.Module):
    """An implicit posterior whose first two moments are cheap.

    (x [B, X], noise [B, m E']) -> (z, loc, scale), [B, D] each, with
    z(x, e) = z_0(x) + sum_i a_i(x) v_i(e_i) for m bases v_i.

    v_i sees the i-th part of the noise alone. The parts are independent, so
    E z = z_0 + sum_i a_i E v_i and Var z = sum_i a_i^2 Var v_i. The moments of v_i are those of the
    batch, whose examples share them; a batch of one is refused. loc and scale carry no gradient.
    a_i is elu(. - 5) + 1, which starts near zero.

    Attributes:
        features: widths of the network of x.
        latent_size: D.
        num_bases: m.
        base_features: hidden widths of each v_i.
        activation: a name of `networks.ACTIVATIONS`.
        init_name: a name of `networks.INITIALIZERS`.
        epsilon: added to the variance, once.

    Raises:
        ConfigError: the batch has one example, or the bases cannot share the noise evenly.
    """

    features: tuple[int, ...]
    latent_size: int
    num_bases: int = 8
    base_features: tuple[int, ...] = (128, 128, 128)
    activation: str = "elu"
    init_name: str = "glorot"
    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, inputs: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        """Draw z for (x, noise), with the moments of q(z | x)."""
        x, noise = inputs
        size = self.latent_size
        require(
            noise.shape[0] >= 2,
            f"moments over the batch need at least two examples, got noise {noise.shape}",
        )
        require(
            noise.shape[1] % self.num_bases == 0,
            f"{self.num_bases} bases share the noise evenly, got {noise.shape[1]} numbers",
        )
        network = MLP(self.features, self.activation, self.init_name, name="hidden")
        activate = activation(self.activation)
        hidden = activate(network(x))
        to_center = Dense(size, True, self.init_name, name="center")
        center = to_center(hidden)
        to_weights = Dense(self.num_bases * size, True, self.init_name, name="weights")
        weights = to_weights(hidden)
        weights = weights.reshape(-1, self.num_bases, size)
        weights = jax.nn.elu(weights - 5.0) + 1.0
        # One MLP per basis, with parameters of its own, each on its part of the noise.
        mlps = nn.vmap(
            MLP, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=1, out_axes=1
        )
        widths = (*self.base_features, size)
        bases = mlps(widths, self.activation, self.init_name, name="bases")
        parts = noise.reshape(noise.shape[0], self.num_bases, -1)
        v = at_least_float32(bases(parts))
        z = center + jnp.sum(weights * v, axis=1)
        mean_v = jnp.mean(v, axis=0)
        loc = center + jnp.sum(weights * mean_v, axis=1)
        squares = jnp.square(weights)
        var_v = jnp.var(v, axis=0)
        variance = jnp.sum(squares * var_v, axis=1)
        scale = jnp.sqrt(variance + self.epsilon)
        return z, jax.lax.stop_gradient(loc), jax.lax.stop_gradient(scale)


class ResidualCritic(nn.Module):
    """(x [B, X], z [B, D]) -> logits [B], the critic of the four-point problem.

    A dense layer, then blocks h <- elu(h + W_2 relu(W_1 h)) with W_2 = 0 at the start, then a
    linear output.

    Attributes:
        width: of the hidden layers.
        num_blocks: number of blocks.
        init_name: a name of `networks.INITIALIZERS`.
    """

    width: int = 256
    num_blocks: int = 5
    init_name: str = "glorot"

    @nn.compact
    def __call__(self, inputs: tuple[Array, Array]) -> Array:
        """Compute the logits of pairs (x, z)."""
        first = Dense(self.width, True, self.init_name, name="input")
        joint = jnp.concatenate(inputs, axis=-1)
        h = jax.nn.elu(first(joint))
        for block in range(self.num_blocks):
            inner = Dense(self.width, True, self.init_name, name=f"inner_{block}")
            outer = Dense(self.width, True, self.init_name, 0.0, name=f"outer_{block}")
            hidden = jax.nn.relu(inner(h))
            h = jax.nn.elu(h + outer(hidden))
        output = Dense(1, True, self.init_name, name="output")
        logits = output(h)
        return logits[..., 0]
