"""One layer of the transformer: causal attention and an MLP, for a whole sequence or one
position."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import core
from dgm_jax.core import Array
from dgm_jax.core.reductions import softmax
from dgm_jax.networks.layers import initializers


class Block(nn.Module):
    """Pre-LN attention and a GELU MLP of 4 x width, each added to the residual stream.

    Attributes:
        width: of the residual stream x [B, T, width] (float32).
        num_heads: of the attention; they divide the width.
        dropout: share of every sublayer's output that is dropped in training.
        dtype: of the matrix products.
        init_name: a name of `networks.INITIALIZERS`.
        residual_gain: factor on the drawn weights of projections into the residual stream.
    """

    width: int
    num_heads: int
    dropout: float
    dtype: Any
    init_name: str
    residual_gain: float

    def setup(self) -> None:
        """Create the layers."""

        def dense(features: int, gain: float = 1.0) -> nn.Dense:
            kernel_init = initializers.weights(self.init_name, gain)
            return nn.Dense(features, dtype=self.dtype, kernel_init=kernel_init)

        self.norm_attention = nn.LayerNorm(epsilon=1e-5, dtype=jnp.float32)
        self.query_key_value = dense(3 * self.width)
        self.attention_out = dense(self.width, self.residual_gain)
        self.norm_mlp = nn.LayerNorm(epsilon=1e-5, dtype=jnp.float32)
        self.mlp_in = dense(4 * self.width)
        self.mlp_out = dense(self.width, self.residual_gain)

    def __call__(self, x: Array, train: bool = False) -> tuple[Array, Array, Array]:
        """Process a whole sequence.

        Args:
            x: [B, T, width].
            train: whether outputs are dropped.

        Returns:
            (new x [B, T, width], keys, values), the last two [B, heads, T, D].
        """
        query, keys, values = self._heads(x)
        length = x.shape[1]
        causal = jnp.arange(length)[None, :] <= jnp.arange(length)[:, None]
        return self._finish(x, _attend(query, keys, values, causal), train), keys, values

    def step(
        self, x: Array, keys: Array, values: Array, position: Array | int | np.integer
    ) -> tuple[Array, Array, Array]:
        """Process one position, given the keys and values of the positions before it.

        Args:
            x: [B, 1, width].
            keys: [B, heads, S, D], of which those before `position` are read.
            values: [B, heads, S, D].
            position: of x in the sequence; may be traced.

        Returns:
            (new x [B, 1, width], keys and values with those of this position).
        """
        query, key, value = self._heads(x)
        # Without the barrier XLA fuses the updates of a single sequence into the attention too, and
        # then copies the whole cache at every position.
        keys, values = jax.lax.optimization_barrier(
            (
                jax.lax.dynamic_update_slice_in_dim(keys, key, position, axis=2),
                jax.lax.dynamic_update_slice_in_dim(values, value, position, axis=2),
            )
        )
        visible = jnp.arange(keys.shape[2])[None, :] <= position
        return self._finish(x, _attend(query, keys, values, visible), False), keys, values

    def _heads(self, x: Array) -> tuple[Array, Array, Array]:
        """Queries, keys and values [B, heads, T, D]."""
        joint = self.query_key_value(self.norm_attention(x))
        joint = joint.reshape(*x.shape[:2], 3, self.num_heads, -1).transpose(2, 0, 3, 1, 4)
        return joint[0], joint[1], joint[2]

    def _finish(self, x: Array, attended: Array, train: bool) -> Array:
        merged = attended.transpose(0, 2, 1, 3).reshape(x.shape)
        x = x + self._drop(self.attention_out(merged), train)
        hidden = nn.gelu(self.mlp_in(self.norm_mlp(x)))
        return x + self._drop(self.mlp_out(hidden), train)

    def _drop(self, x: Array, train: bool) -> Array:
        x = x.astype(jnp.float32)
        if not (train and self.dropout > 0):
            return x
        kept = core.uniform(self.make_rng("dropout"), x.shape) >= self.dropout
        return jnp.where(kept, x / (1 - self.dropout), 0)


def _attend(query: Array, keys: Array, values: Array, mask: Array) -> Array:
    """softmax(q k^T / sqrt(D)) v with scores and softmax in float32: [B, heads, Q, D] in the dtype
    of the values."""
    scores = jnp.einsum("bhqd,bhsd->bhqs", query, keys, preferred_element_type=jnp.float32)
    masked = jnp.where(mask, scores / math.sqrt(query.shape[-1]), -jnp.inf)
    weights = softmax(masked).astype(values.dtype)
    mixed = jnp.einsum("bhqs,bhsd->bhqd", weights, values, preferred_element_type=jnp.float32)
    return mixed.astype(values.dtype)
