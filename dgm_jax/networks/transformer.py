"""A decoder-only transformer over discrete tokens, in one pass or position by position with a
cache.

The input is shifted right behind a learned start token, so the logits at position t are those of
p(x_t | x_<t): they depend on tokens 0..t-1 only. Three methods share the parameters and agree:

    module(tokens)                       all positions at once
    module.prefill(tokens)               also returns the keys and values of every layer
    module.step(cache, token, position)  one position, for `lax.scan`

`from_transformer` makes the pure functions that models use, a `CausalNetwork`.
"""

import math
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from dgm_jax import core
from dgm_jax.core import Array, Key, PyTree
from dgm_jax.networks.causal import CausalNetwork, require_tokens
from dgm_jax.networks.layers import initializers
from dgm_jax.networks.layers.dense import by_rows
from dgm_jax.networks.transformer_block import Block


class Cache(NamedTuple):
    """Keys and values of the positions processed so far.

    Attributes:
        keys: one array [B, heads, context_length, D] per layer.
        values: the same.
    """

    keys: tuple[Array, ...]
    values: tuple[Array, ...]


class Transformer(nn.Module):
    """Tokens int[B, T] -> logits float32[B, T, vocab_size] of p(x_t | x_<t), T <= context_length.

    Attributes:
        vocab_size: number of ids.
        context_length: the longest sequence.
        width: of the residual stream.
        num_layers: number of blocks.
        num_heads: of the attention; they divide the width.
        num_prefix: leading text positions, as in a stream of text and image (Ramesh et al. 2021,
            section 2.2).
        grid: (h, w) of the image that follows them, context_length = num_prefix + h w: the position
            embedding of an image token is then the sum of a row and a column embedding. None learns
            one per position. Positions are those of the token that is predicted.
        pad_id: the id that fills up texts; as an input it has an embedding of its own at each of
            the `num_prefix` positions (Ramesh et al. 2021, section 2.2). As an output it is one id.
        dropout: share of every sublayer's output that is dropped in training; 0 needs no key.
        dtype: of the matrix products inside the blocks. Embeddings, gains, residual stream, softmax
            and logits are float32 (Ramesh et al. 2021, appendix D).
        init_name: a name of `networks.INITIALIZERS`, of all weights.
        gain: factor on all weights; projections into the residual stream are scaled by another
            1 / sqrt(2 num_layers) (Radford et al. 2019).
        remat: whether the backward pass computes the inside of each block anew instead of keeping
            it (Chen et al. 2016, "Training deep nets with sublinear memory cost"): memory for a
            second forward pass, with the same parameters, values and gradients. XLA on CPUs saves
            next to nothing by it.

    Raises:
        ConfigError: sizes that do not fit.
        DataError: the tokens are longer than the context.
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
    remat: bool = False

    def setup(self) -> None:
        """Create embeddings and blocks."""
        _check(self)
        draw = initializers.weights(self.init_name, self.gain)

        def table(name: str, rows: int) -> Array:
            # Drawn as [width, rows], so that the scale of a row is that of weights with fan-in
            # `width`.
            shape = (self.width, rows)
            return self.param(name, lambda key: draw(key, shape, jnp.float32).T)

        self.token_embedding = table("token_embedding", self.vocab_size)
        self.start_embedding = table("start_embedding", 1)
        if self.pad_id is not None:
            self.pad_embedding = table("pad_embedding", self.num_prefix)
        if self.grid is None:
            self.position_embedding = table("position_embedding", self.context_length)
        else:
            self.row_embedding = table("row_embedding", self.grid[0])
            self.column_embedding = table("column_embedding", self.grid[1])
            self.prefix_embedding = None
            if self.num_prefix:
                self.prefix_embedding = table("prefix_embedding", self.num_prefix)
        gain = self.gain / math.sqrt(2 * self.num_layers)
        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        self.blocks = [
            block(self.width, self.num_heads, self.dropout, self.dtype, self.init_name, gain)
            for _ in range(self.num_layers)
        ]
        self.norm = nn.LayerNorm(epsilon=1e-5, dtype=jnp.float32)
        self.head = nn.Dense(self.vocab_size, dtype=jnp.float32, kernel_init=draw)

    def __call__(self, tokens: Array, train: bool = False) -> Array:
        """Compute the logits [B, T, V] of all positions at once."""
        logits, _ = self._pass(tokens, train)
        return logits

    def prefill(self, tokens: Array) -> tuple[Cache, Array]:
        """Process a prompt; `step` continues at position P.

        Args:
            tokens: int[B, P].

        Returns:
            (cache of the positions 0..P-1, logits [B, P, V]).
        """
        logits, pairs = self._pass(tokens, False)
        num_unused = self.context_length - logits.shape[1]
        padding = ((0, 0), (0, 0), (0, num_unused), (0, 0))
        keys = tuple(jnp.pad(layer_keys, padding) for layer_keys, _ in pairs)
        values = tuple(jnp.pad(layer_values, padding) for _, layer_values in pairs)
        return Cache(keys, values), logits

    def step(
        self, cache: Cache, token: Array, position: Array | int | np.integer
    ) -> tuple[Cache, Array]:
        """Compute the logits of one position.

        Args:
            cache: of the positions before.
            token: int[B], the token before `position`; not read at position 0, where the start
                token stands in for it.
            position: may be traced; positions count up from 0 or from the length of the prompt.

        Returns:
            (cache with this position, logits [B, V] of the token at `position`).

        Raises:
            DataError: a known position beyond the context.
        """
        if isinstance(position, (int, np.integer)):
            last = self.context_length - 1
            fits = 0 <= position <= last
            message = f"position {position} is outside the context 0..{last}"
            core.require(bool(fits), message, core.DataError)
        positions = jnp.asarray(position)[None]
        x = self._embed(token[:, None], positions)
        keys = list(cache.keys)
        values = list(cache.values)
        for layer, block in enumerate(self.blocks):
            x, keys[layer], values[layer] = block.step(x, keys[layer], values[layer], position)
        logits = self._logits(x)
        return Cache(tuple(keys), tuple(values)), logits[:, 0]

    def init_cache(self, batch: int) -> Cache:
        """Create an empty cache.

        Args:
            batch: number of sequences.

        Returns:
            Zeros in the compute dtype, `context_length` positions long.
        """
        head_size = self.width // self.num_heads
        shape = (batch, self.num_heads, self.context_length, head_size)
        keys = tuple(jnp.zeros(shape, self.dtype) for _ in range(self.num_layers))
        values = tuple(jnp.zeros(shape, self.dtype) for _ in range(self.num_layers))
        return Cache(keys, values)

    def _pass(self, tokens: Array, train: bool) -> tuple[Array, list[tuple[Array, Array]]]:
        """Logits [B, T, V], and the keys and values of each layer."""
        tokens = require_tokens(tokens, self.vocab_size)
        length = tokens.shape[1]
        longest = self.context_length
        message = f"tokens must be 1..{longest} positions long (context_length), got {length}"
        core.require(1 <= length <= longest, message, core.DataError)
        before = jnp.pad(tokens[:, :-1], ((0, 0), (1, 0)))
        positions = jnp.arange(length)
        x = self._embed(before, positions)
        pairs = []
        for block in self.blocks:
            x, keys, values = block(x, train)
            pairs.append((keys, values))
        return self._logits(x), pairs

    def _logits(self, x: Array) -> Array:
        return by_rows(lambda rows: self.head(self.norm(rows)), x)

    def _embed(self, before: Array, positions: Array) -> Array:
        """Inputs [B, Q, width] at positions [Q], from the tokens `before` [B, Q] them."""
        x = self.token_embedding[before]
        if self.pad_id is not None:
            padded = (before == self.pad_id) & (positions >= 1) & (positions <= self.num_prefix)
            rows = jnp.clip(positions - 1, 0, self.num_prefix - 1)
            pad_embedding = self.pad_embedding[rows]
            x = jnp.where(padded[..., None], pad_embedding, x)
        is_start = positions == 0
        x = jnp.where(is_start[:, None], self.start_embedding, x)
        return x + self._position_embedding(positions)

    def _position_embedding(self, positions: Array) -> Array:
        """[Q] -> [Q, width]."""
        if self.grid is None:
            return self.position_embedding[positions]
        num_columns = self.grid[1]
        index = jnp.maximum(positions - self.num_prefix, 0)
        row = self.row_embedding[index // num_columns]
        column = self.column_embedding[index % num_columns]
        embedding = row + column
        if self.prefix_embedding is None:
            return embedding
        prefix_index = jnp.minimum(positions, self.num_prefix - 1)
        prefix = self.prefix_embedding[prefix_index]
        in_prefix = positions < self.num_prefix
        return jnp.where(in_prefix[:, None], prefix, embedding)


def _check(module: Transformer) -> None:
    """ConfigError for sizes that do not fit."""
    core.require_at_least(
        1, module, "vocab_size", "context_length", "width", "num_layers", "num_heads"
    )
    width = module.width
    heads = module.num_heads
    message = f"width must be divisible by num_heads, got {width} and {heads}"
    core.require(width % heads == 0, message)
    core.require(0 <= module.dropout < 1, f"dropout must be in [0, 1), got {module.dropout}")
    length = module.context_length
    prefix = module.num_prefix
    message = f"num_prefix must be in 0..{length} (context_length), got {prefix}"
    core.require(0 <= prefix <= length, message)
    grid = module.grid
    if grid is not None:
        core.require(len(grid) == 2, f"grid must be (h, w), got {grid}")
        expected = prefix + math.prod(grid)
        rule = f"context_length must be num_prefix + h w = {expected} with grid={grid}"
        core.require(length == expected, f"{rule}, got {length}")
    pad_id = module.pad_id
    if pad_id is not None:
        core.require(prefix >= 1, "pad_id needs num_prefix, the number of text positions")
        last = module.vocab_size - 1
        core.require(0 <= pad_id <= last, f"pad_id must be in 0..{last}, got {pad_id}")


def from_transformer(module: Transformer) -> CausalNetwork:
    """Make the pure functions of a transformer, with a cache.

    Args:
        module: the transformer.

    Returns:
        The network over sequences of up to `context_length` tokens.

    Raises:
        ConfigError: sizes that do not fit.
    """
    _check(module)

    def init(key: Key) -> PyTree:
        tokens = jnp.zeros((1, 1), jnp.int32)
        return module.init(key, tokens)["params"]

    def logits(params: PyTree, tokens: Array, key: Key | None = None) -> Array:
        rngs = {} if key is None else {"dropout": key}
        out = module.apply({"params": params}, tokens, train=key is not None, rngs=rngs)
        return cast(Array, out)

    def prefill(params: PyTree, tokens: Array) -> tuple[Cache, Array]:
        pair = module.apply({"params": params}, tokens, method="prefill")
        return cast(tuple[Cache, Array], pair)

    def step(params: PyTree, cache: Cache, token: Array, position: Array) -> tuple[Cache, Array]:
        pair = module.apply({"params": params}, cache, token, position, method="step")
        return cast(tuple[Cache, Array], pair)

    return CausalNetwork(
        vocab_size=module.vocab_size,
        length=module.context_length,
        init=init,
        logits=logits,
        init_cache=module.init_cache,
        prefill=prefill,
        step=step,
    )
