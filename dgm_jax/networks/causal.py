"""What an autoregressive network over tokens provides to a model, and the check of its tokens."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, DataError, Key, PyTree, checks, require


class CausalLogits(Protocol):
    """`(params, tokens [B, T], key=None) -> logits [B, T, V]`."""

    def __call__(self, params: PyTree, tokens: Array, key: Key | None = None, /) -> Array: ...


class CausalNetwork(NamedTuple):
    """Pure functions of an autoregressive network over sequences of tokens 0..vocab_size-1.

    Attributes:
        vocab_size: V, number of ids.
        length: the longest sequence.
        init: `key -> params`.
        logits: `(params, tokens [B, T], key=None) -> float32[B, T, V]`; logits at t depend on
            tokens before t only. A key turns dropout on.
        init_cache: `batch -> cache`; None, as the next two, for a network that has no cache.
        prefill: `(params, tokens [B, P]) -> (cache, logits [B, P, V])`.
        step: `(params, cache, token [B], position) -> (cache, logits [B, V])`: `token` is the one
            before `position` (of any value at position 0), the logits are those of the token at
            `position`.
    """

    vocab_size: int
    length: int
    init: Callable[[Key], PyTree]
    logits: CausalLogits
    init_cache: Callable[[int], PyTree] | None = None
    prefill: Callable[[PyTree, Array], tuple[PyTree, Array]] | None = None
    step: Callable[[PyTree, PyTree, Array, Array], tuple[PyTree, Array]] | None = None


def require_tokens(tokens: Array, vocab_size: int, name: str = "tokens") -> Array:
    """Check tokens and convert them to int32.

    Args:
        tokens: integers [B, T].
        vocab_size: number of ids; ids are checked where they are known.
        name: of the tokens, in messages.

    Returns:
        int32[B, T].

    Raises:
        DataError: another rank or type, or a known id outside 0..vocab_size-1.
    """
    tokens = tokens if isinstance(tokens, jax.Array) else jnp.asarray(tokens)
    require(tokens.ndim == 2, f"{name} must have the shape [B, T], got {tokens.shape}", DataError)
    integer = jnp.issubdtype(tokens.dtype, jnp.integer)
    require(integer, f"{name} must be integers, got {tokens.dtype}", DataError)
    if checks.is_concrete(tokens) and tokens.size:
        # NumPy, since within a traced function a reduction by jnp would be traced even for a
        # known array.
        ids = np.asarray(tokens)
        low = int(ids.min())
        high = int(ids.max())
        message = f"{name} must be ids in 0..{vocab_size - 1}, got ids from {low} to {high}"
        require(low >= 0 and high < vocab_size, message, DataError)
    return tokens.astype(jnp.int32)
