"""What every autoregressive network over tokens is to a model, and the check of its tokens."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, DataError, checks, require


class CausalNetwork(NamedTuple):
    """Pure functions of an autoregressive network over sequences of tokens 0..vocab_size-1.

    init: `key -> params`.
    logits: `(params, tokens[B, T], key=None) -> float32[B, T, V]`; logits at t depend on tokens
        before t only. A key turns dropout on.
    init_cache: `batch -> cache`. prefill: `(params, tokens[B, P]) -> (cache, logits[B, P, V])`.
    step: `(params, cache, token[B], position) -> (cache, logits[B, V])`: `token` is the one before
        `position` (of any value at position 0), the logits are those of the token at `position`.
        All three are None for a network that has no cache.
    """

    vocab_size: int
    length: int  # the longest sequence
    init: Callable
    logits: Callable
    init_cache: Callable | None = None
    prefill: Callable | None = None
    step: Callable | None = None


def require_tokens(tokens, vocab_size: int, name: str = "tokens") -> Array:
    """tokens[B, T] as int32; DataError for another rank or dtype and for known ids outside
    0..vocab_size-1."""
    tokens = tokens if isinstance(tokens, jax.Array) else jnp.asarray(tokens)
    require(tokens.ndim == 2, f"{name} must have the shape [B, T], got {tokens.shape}", DataError)
    integer = jnp.issubdtype(tokens.dtype, jnp.integer)
    require(integer, f"{name} must be integers, got {tokens.dtype}", DataError)
    if checks.is_concrete(tokens) and tokens.size:
        # a known array that a traced function holds, too: its reduction must not be traced
        ids = np.asarray(tokens)
        low, high = int(ids.min()), int(ids.max())
        message = f"{name} must be ids in 0..{vocab_size - 1}, got ids from {low} to {high}"
        require(low >= 0 and high < vocab_size, message, DataError)
    return tokens.astype(jnp.int32)
