"""A decoder-only transformer over discrete tokens, in one pass or position by position with a
cache.

The input is shifted right behind a learned start token, so the logits at position t are those of
p(x_t | x_<t): they see tokens 0..t-1 and no other. Three ways share the parameters and agree:

    module(tokens)                       all positions at once
    module.prefill(tokens)               the same, and the keys and values of every layer
    module.step(cache, token, position)  one position, for `lax.scan`

`from_transformer` makes the pure functions that models use, a `CausalNetwork`.
"""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import core
from dgm_jax.core import Array
from dgm_jax.networks.causal import CausalNetwork, require_tokens
from dgm_jax.networks.layers import initializers


class Cache(NamedTuple):
    """Keys and values of the positions seen so far, a pair of arrays [B, heads, context_length, D]
    per layer."""

    keys: tuple[Array, ...]
    values: tuple[Array, ...]


class Block(nn.Module):
    """Pre-LN attention and a GELU MLP of 4 x width, each added to the residual stream x [B, T,
    width] (float32)."""

    width: int
    num_heads: int
    dropout: float
    dtype: Any
    init_name: str
    residual_gain: float

    def setup(self):
        def dense(features, gain=1.0):
            return nn.Dense(
                features, dtype=self.dtype, kernel_init=initializers.weights(self.init_name, gain)
            )

        self.norm_attention = nn.LayerNorm(epsilon=1e-5, dtype=jnp.float32)
        self.query_key_value = dense(3 * self.width)
        self.attention_out = dense(self.width, self.residual_gain)
        self.norm_mlp = nn.LayerNorm(epsilon=1e-5, dtype=jnp.float32)
        self.mlp_in = dense(4 * self.width)
        self.mlp_out = dense(self.width, self.residual_gain)

    def __call__(self, x: Array, train: bool = False) -> tuple[Array, Array, Array]:
        """(new x, keys, values) of a whole sequence; keys and values are [B, heads, T, D]."""
        query, keys, values = self._heads(x)
        length = x.shape[1]
        causal = jnp.arange(length)[None, :] <= jnp.arange(length)[:, None]
        return self._finish(x, _attend(query, keys, values, causal), train), keys, values

    def step(
        self, x: Array, keys: Array, values: Array, position: Array | int | np.integer
    ) -> tuple[Array, Array, Array]:
        """The same for one position: x [B, 1, width], caches [B, heads, S, D] in and out."""
        query, key, value = self._heads(x)
        keys = jax.lax.dynamic_update_slice_in_dim(keys, key, position, axis=2)
        values = jax.lax.dynamic_update_slice_in_dim(values, value, position, axis=2)
        seen = jnp.arange(keys.shape[2])[None, :] <= position
        return self._finish(x, _attend(query, keys, values, seen), False), keys, values

    def _heads(self, x):
        """Queries, keys and values [B, heads, T, D]."""
        joint = self.query_key_value(self.norm_attention(x))
        joint = joint.reshape(*x.shape[:2], 3, self.num_heads, -1).transpose(2, 0, 3, 1, 4)
        return joint[0], joint[1], joint[2]

    def _finish(self, x, attended, train):
        merged = attended.transpose(0, 2, 1, 3).reshape(x.shape)
        x = x + self._drop(self.attention_out(merged), train)
        return x + self._drop(self.mlp_out(nn.gelu(self.mlp_in(self.norm_mlp(x)))), train)

    def _drop(self, x, train):
        x = x.astype(jnp.float32)
        if not (train and self.dropout > 0):
            return x
        kept = core.uniform(self.make_rng("dropout"), x.shape) >= self.dropout
        return jnp.where(kept, x / (1 - self.dropout), 0)


def _attend(query, keys, values, mask):
    """softmax(q k^T / sqrt(D)) v with scores and softmax in float32: [B, heads, Q, D] in the dtype
    of the values."""
    scores = jnp.einsum("bhqd,bhsd->bhqs", query, keys, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(
        jnp.where(mask, scores / math.sqrt(query.shape[-1]), -jnp.inf), axis=-1
    )
    mixed = jnp.einsum(
        "bhqs,bhsd->bhqd", weights.astype(values.dtype), values, preferred_element_type=jnp.float32
    )
    return mixed.astype(values.dtype)


class Transformer(nn.Module):
    """tokens int[B, T] -> logits float32[B, T, vocab_size] of p(x_t | x_<t), T <= context_length.

    num_prefix: leading text positions, as in a stream of text and image (Ramesh et al. 2021,
        section 2.2).
    grid: (h, w) of the image that follows them, context_length = num_prefix + h w: the position of
        an image token is then the sum of a row and a column embedding; None learns one per
        position. Positions are those of the token that is predicted.
    pad_id: the id that fills texts up; as an input it has an embedding of its own at each of the
        `num_prefix` positions (Ramesh et al. 2021, section 2.2). As an output it is one id.
    dropout: share of every sublayer's output that is dropped in training; at 0 no key is needed.
    dtype: of the matrix products inside the blocks. Embeddings, gains, residual stream, softmax and
        logits are float32 (Ramesh et al. 2021, appendix D).
    init_name, gain: of all weights; projections into the residual stream are scaled by another
        1 / sqrt(2 num_layers) (Radford et al. 2019).

    Raises ConfigError for sizes that do not fit, DataError for tokens longer than the context.
    """

    vocab_size: int
    context_length: int
    width: int = 128
    num_layers: int = 4
    num_heads: int = 4
    num_prefix: int = 0
    grid: tuple[int, int] | None = None
    pad_id: int | None = None
    dropout: float = 0.0
    dtype: Any = jnp.float32
    init_name: str = "normal_0.02"
    gain: float = 1.0

    def setup(self):
        _check(self)
        draw = initializers.weights(self.init_name, self.gain)

        def table(name, rows):
            # Drawn as [width, rows]: every row is as large as a row of weights that reads `width`
            # numbers.
            return self.param(name, lambda key: draw(key, (self.width, rows), jnp.float32).T)

        self.token_embedding = table("token_embedding", self.vocab_size)
        self.start_embedding = table("start_embedding", 1)
        if self.pad_id is not None:
            self.pad_embedding = table("pad_embedding", self.num_prefix)
        if self.grid is None:
            self.position_embedding = table("position_embedding", self.context_length)
        else:
            self.row_embedding = table("row_embedding", self.grid[0])
            self.column_embedding = table("column_embedding", self.grid[1])
            self.prefix_embedding = (
                table("prefix_embedding", self.num_prefix) if self.num_prefix else None
            )
        gain = self.gain / math.sqrt(2 * self.num_layers)
        self.blocks = [
            Block(self.width, self.num_heads, self.dropout, self.dtype, self.init_name, gain)
            for layer in range(self.num_layers)
        ]
        self.norm = nn.LayerNorm(epsilon=1e-5, dtype=jnp.float32)
        self.head = nn.Dense(self.vocab_size, dtype=jnp.float32, kernel_init=draw)

    def __call__(self, tokens: Array, train: bool = False) -> Array:
        return self._pass(tokens, train)[0]

    def prefill(self, tokens: Array) -> tuple[Cache, Array]:
        """(cache of the positions 0..P-1, logits [B, P, V]) of a prompt int[B, P]; `step` goes on
        at position P."""
        logits, pairs = self._pass(tokens, False)
        room = ((0, 0), (0, 0), (0, self.context_length - logits.shape[1]), (0, 0))
        keys, values = ([jnp.pad(pair[i], room) for pair in pairs] for i in range(2))
        return Cache(tuple(keys), tuple(values)), logits

    def step(self, cache: Cache, token: Array, position) -> tuple[Cache, Array]:
        """(cache, logits [B, V]) of the token at `position`, given the token int[B] before it and
        the cache.

        `position` may be traced: positions count up from 0 or from the length of the prompt. At 0
        the start token is read whatever `token` is. A position beyond the context that is known
        raises DataError.
        """
        if isinstance(position, (int, np.integer)):
            fits = 0 <= position < self.context_length
            message = f"position {position} is outside the context 0..{self.context_length - 1}"
            core.require(bool(fits), message, core.DataError)
        x = self._embed(token[:, None], jnp.asarray(position)[None])
        keys, values = list(cache.keys), list(cache.values)
        for layer, block in enumerate(self.blocks):
            x, keys[layer], values[layer] = block.step(x, keys[layer], values[layer], position)
        return Cache(tuple(keys), tuple(values)), self.head(self.norm(x))[:, 0]

    def init_cache(self, batch: int) -> Cache:
        """The empty cache of a batch: zeros in the compute dtype, `context_length` positions
        long."""
        shape = (batch, self.num_heads, self.context_length, self.width // self.num_heads)
        keys, values = (
            [jnp.zeros(shape, self.dtype) for _ in range(self.num_layers)] for _ in range(2)
        )
        return Cache(tuple(keys), tuple(values))

    def _pass(self, tokens, train):
        tokens = require_tokens(tokens, self.vocab_size)
        length = tokens.shape[1]
        message = (
            f"tokens must be 1..{self.context_length} positions long (context_length), got {length}"
        )
        core.require(1 <= length <= self.context_length, message, core.DataError)
        x = self._embed(jnp.pad(tokens[:, :-1], ((0, 0), (1, 0))), jnp.arange(length))
        pairs = []
        for block in self.blocks:
            x, keys, values = block(x, train)
            pairs.append((keys, values))
        return self.head(self.norm(x)), pairs

    def _embed(self, before, positions):
        """[B, Q, width] of the tokens `before`[B, Q] the positions [Q], with the embeddings of the
        positions."""
        x = self.token_embedding[before]
        if self.pad_id is not None:
            padded = (before == self.pad_id) & (positions >= 1) & (positions <= self.num_prefix)
            x = jnp.where(
                padded[..., None],
                self.pad_embedding[jnp.clip(positions - 1, 0, self.num_prefix - 1)],
                x,
            )
        x = jnp.where((positions == 0)[:, None], self.start_embedding, x)
        if self.grid is None:
            return x + self.position_embedding[positions]
        place = jnp.maximum(positions - self.num_prefix, 0)
        where = (
            self.row_embedding[place // self.grid[1]] + self.column_embedding[place % self.grid[1]]
        )
        if self.prefix_embedding is not None:
            prefix = self.prefix_embedding[jnp.minimum(positions, self.num_prefix - 1)]
            where = jnp.where((positions < self.num_prefix)[:, None], prefix, where)
        return x + where


def _check(module: Transformer) -> None:
    """ConfigError for sizes that do not fit."""
    core.require_at_least(
        1, module, "vocab_size", "context_length", "width", "num_layers", "num_heads"
    )
    width, heads, length, prefix = (
        module.width,
        module.num_heads,
        module.context_length,
        module.num_prefix,
    )
    core.require(
        width % heads == 0, f"width must be divisible by num_heads, got {width} and {heads}"
    )
    core.require(0 <= module.dropout < 1, f"dropout must be in [0, 1), got {module.dropout}")
    core.require(
        0 <= prefix <= length, f"num_prefix must be in 0..{length} (context_length), got {prefix}"
    )
    if module.grid is not None:
        expected = prefix + math.prod(module.grid)
        message = (
            f"context_length must be num_prefix + h w = {expected} with grid={module.grid}, got"
            f" {length}"
        )
        core.require(length == expected, message)
    if module.pad_id is not None:
        core.require(prefix >= 1, "pad_id needs num_prefix, the number of text positions")
        last = module.vocab_size - 1
        core.require(
            0 <= module.pad_id <= last, f"pad_id must be in 0..{last}, got {module.pad_id}"
        )


def from_transformer(module: Transformer) -> CausalNetwork:
    """The pure functions of a transformer, with a cache. Raises ConfigError for sizes that do not
    fit."""
    _check(module)

    def init(key):
        return module.init(key, jnp.zeros((1, 1), jnp.int32))["params"]

    def logits(params, tokens, key=None):
        rngs = {} if key is None else {"dropout": key}
        return module.apply({"params": params}, tokens, train=key is not None, rngs=rngs)

    def prefill(params, tokens):
        return module.apply({"params": params}, tokens, method="prefill")

    def step(params, cache, token, position):
        return module.apply({"params": params}, cache, token, position, method="step")

    return CausalNetwork(
        module.vocab_size, module.context_length, init, logits, module.init_cache, prefill, step
    )
