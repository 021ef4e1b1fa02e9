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
from dgm_jax.networks.layers.dense import by_rows


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
        positions = jnp.arange(x.shape[1])
        causal = positions[None, :] <= positions[:, None]
        attended = jax.lax.platform_dependent(
            query, keys, values, causal, cpu=_attend_by_halves, default=_attend
        )
        x = self._finish(x, attended, train)
        return x, keys, values

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
        update = jax.lax.dynamic_update_slice_in_dim
        query, key, value = self._heads(x)
        keys = update(keys, key, position, axis=2)
        values = update(values, value, position, axis=2)
        # Without the barrier XLA fuses the updates of a single sequence into the attention too, and
        # then copies the whole cache at every position.
        keys, values = jax.lax.optimization_barrier((keys, values))
        positions = jnp.arange(keys.shape[2])
        visible = positions[None, :] <= position
        attended = _attend(query, keys, values, visible)
        x = self._finish(x, attended, False)
        return x, keys, values

    def _heads(self, x: Array) -> tuple[Array, Array, Array]:
        """Queries, keys and values [B, heads, T, D]."""
        joint = by_rows(self._project, x)
        joint = joint.reshape(*x.shape[:2], 3, self.num_heads, -1)
        joint = joint.transpose(2, 0, 3, 1, 4)
        return joint[0], joint[1], joint[2]

    def _finish(self, x: Array, attended: Array, train: bool) -> Array:
        merged = attended.transpose(0, 2, 1, 3)
        merged = merged.reshape(x.shape)
        change = by_rows(self.attention_out, merged)
        x = x + self._drop(change, train)
        change = by_rows(self._mlp, x)
        return x + self._drop(change, train)

    def _project(self, rows: Array) -> Array:
        return self.query_key_value(self.norm_attention(rows))

    def _mlp(self, rows: Array) -> Array:
        hidden = nn.gelu(self.mlp_in(self.norm_mlp(rows)))
        return self.mlp_out(hidden)

    def _drop(self, x: Array, train: bool) -> Array:
        x = x.astype(jnp.float32)
        if not (train and self.dropout > 0):
            return x
        key = self.make_rng("dropout")
        kept = core.uniform(key, x.shape) >= self.dropout
        scaled = x / (1 - self.dropout)
        return jnp.where(kept, scaled, 0)


def _attend_by_halves(query: Array, keys: Array, values: Array, mask: Array) -> Array:
    """`_attend` of half of the heads beside that of the others.

    XLA's CPU backend computes the small products of a batch one after the other on one thread, but
    independent products side by side.
    """
    middle = query.shape[1] // 2
    halves = [slice(None, middle), slice(middle, None)] if middle else [slice(None)]
    attended = [_attend(query[:, half], keys[:, half], values[:, half], mask) for half in halves]
    return jnp.concatenate(attended, axis=1)


def _attend(query: Array, keys: Array, values: Array, mask: Array) -> Array:
    """softmax(q k^T / sqrt(D)) v with scores and softmax in float32: [B, heads, Q, D] in the dtype
    of the values."""
    scores = jnp.einsum("bhqd,bhsd->bhqs", query, keys, preferred_element_type=jnp.float32)
    head_size = query.shape[-1]
    scaled = scores / math.sqrt(head_size)
    masked = jnp.where(mask, scaled, -jnp.inf)
    weights = softmax(masked).astype(values.dtype)
    mixed = jnp.einsum("bhqs,bhsd->bhqd", weights, values, preferred_element_type=jnp.float32)
    return mixed.astype(values.dtype)
