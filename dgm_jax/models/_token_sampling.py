"""Sampling of an autoregressive model: one scan over positions, with or without a cache."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, DataError, Key, PyTree, checks, require
from dgm_jax.densities import categorical
from dgm_jax.models._text_image import TextImage
from dgm_jax.networks.causal import CausalNetwork, require_tokens
from dgm_jax.sampling import gumbel
from dgm_jax.sampling import logits as filters

# From here on the tail of 24-bit Gumbel noise matters (sampling.gumbel_noise).
_LARGE_VOCABULARY = 10_000

# (memory, token before [R N], position) -> (memory, logits [R N, V] of the token at position)
Advance = Callable[[PyTree, Array, Array], tuple[PyTree, Array]]


class Samples(NamedTuple):
    """Draws after a prompt of P tokens.

    Attributes:
        tokens: int32[N, T - P].
        log_prob: [N] in nats, of the distribution that was drawn from: at temperature 1 without
            truncation and guidance that of the model, `log_prob(params, tokens, prompt)`.
    """

    tokens: Array
    log_prob: Array


class Settings(NamedTuple):
    """How the distribution of the next token is changed before it is drawn.

    Attributes:
        temperature: divides the logits.
        top_k: number of ids that are kept; None keeps all.
        top_p: probability of the ids that are kept; None keeps all.
        guidance: strength of classifier-free guidance (`sampling.guide`).
    """

    temperature: Array | float
    top_k: int | None
    top_p: Array | float | None
    guidance: Array | float


class Prompts(NamedTuple):
    """The prompts of N samples.

    Attributes:
        tokens: int32[R N, P]: the prompts, and with guidance (R = 2) the null prompts after them.
        has_null: whether the second half of the rows are null prompts.
    """

    tokens: Array
    has_null: bool


def prompts_of(
    network: CausalNetwork,
    stream: TextImage | None,
    num_samples: int,
    prompt: Array | None,
    null_prompt: Array | None,
    guidance: Array | float,
) -> Prompts:
    """Check and join the prompts of samples.

    Args:
        network: gives the number of ids and positions.
        stream: of text and image tokens, or None.
        num_samples: N.
        prompt: int[P] or [N, P]; None for the empty prompt.
        null_prompt: int[P] or [N, P], as the text of an unconditional sample; None without
            guidance.
        guidance: strength of the guidance.

    Returns:
        The prompts, and the null prompts after them.

    Raises:
        ConfigError: there is no sample, or guidance other than 1 without a null prompt.
        DataError: prompts that do not fit the network, the stream or each other.
    """
    require(num_samples >= 1, f"num_samples must be at least 1, got {num_samples}")
    given = np.zeros((0,), np.int32) if prompt is None else prompt
    tokens = checked_prompt(network, stream, num_samples, given, "prompt")
    if null_prompt is None:
        plain = checks.is_concrete(guidance) and bool(np.all(np.asarray(guidance) == 1))
        require(plain, "guidance other than 1 needs a null_prompt")
        return Prompts(tokens, has_null=False)
    null = checked_prompt(network, stream, num_samples, null_prompt, "null_prompt")
    require(
        null.shape == tokens.shape,
        "prompt and null_prompt must have the same length, "
        f"got {tokens.shape[1]} and {null.shape[1]}",
        DataError,
    )
    return Prompts(jnp.concatenate([tokens, null]), has_null=True)


def checked_prompt(
    network: CausalNetwork,
    stream: TextImage | None,
    rows: int,
    prompt: Array | np.ndarray,
    name: str,
) -> Array:
    """Check a prompt and repeat it for every row.

    Args:
        network: gives the number of ids and positions.
        stream: of text and image tokens, or None.
        rows: number of rows.
        prompt: int[P] or [rows, P].
        name: of the prompt, in messages.

    Returns:
        int32[rows, P].

    Raises:
        DataError: another shape, no position left to draw, or ids not allowed at their position.
    """
    prompt = jnp.asarray(prompt)
    prompt = require_tokens(prompt[None] if prompt.ndim == 1 else prompt, network.vocab_size, name)
    num_given, length = prompt.shape
    require(
        num_given in (1, rows),
        f"{name} must have the shape [P] or [{rows}, P], got {prompt.shape}",
        DataError,
    )
    require(
        length < network.length,
        f"a {name} of {length} tokens leaves nothing to draw in a context of {network.length}",
        DataError,
    )
    if stream is not None and checks.is_concrete(prompt) and prompt.size:
        is_image = np.asarray(prompt) >= stream.text_vocab
        fits = np.all(is_image == (np.arange(length) >= stream.text_length))
        require(
            bool(fits),
            f"{name} must have text ids (below {stream.text_vocab}) at the first"
            f" {stream.text_length} positions and image ids after them",
            DataError,
        )
    return jnp.broadcast_to(prompt, (rows, length))


def generate(
    key: Key,
    network: CausalNetwork,
    stream: TextImage | None,
    params: PyTree,
    num_samples: int,
    prompts: Prompts,
    settings: Settings,
    cached: bool,
) -> Samples:
    """Draw tokens in one scan over the positions after the prompts.

    Each step turns the token before into logits, changes their distribution as the settings say,
    and draws the next token. With null prompts the network runs on 2 N rows, the conditional and
    the unconditional copy of each sample, and both copies receive the same token.

    Args:
        key: of the draws.
        network: the model.
        stream: of text and image tokens, or None.
        params: of the network.
        num_samples: N.
        prompts: of the samples.
        settings: of the distribution.
        cached: use the network's cache; else make a full pass for every position.

    Returns:
        The tokens after the prompts.
    """
    rows, num_given = prompts.tokens.shape
    begin = _begin_cached if cached else _begin_uncached
    memory, advance = begin(network, params, prompts.tokens)
    last = prompts.tokens[:, -1] if num_given else jnp.zeros((rows,), jnp.int32)
    mode = "high" if network.vocab_size >= _LARGE_VOCABULARY else "low"

    def body(carry: tuple, inputs: tuple[Key, Array]) -> tuple[tuple, Array]:
        memory, last, log_prob = carry
        key, position = inputs
        memory, logits = advance(memory, last, position)
        logits = _changed_logits(stream, settings, prompts.has_null, logits, position)
        token = gumbel.gumbel_max(key, logits, mode=mode)
        log_prob = log_prob + categorical.log_prob(token, logits)
        return (memory, jnp.tile(token, rows // num_samples), log_prob), token

    keys = jax.random.split(key, network.length - num_given)
    positions = jnp.arange(num_given, network.length)
    start = (memory, last, jnp.zeros((num_samples,)))
    (_, _, log_prob), tokens = jax.lax.scan(body, start, (keys, positions))
    return Samples(tokens.T, log_prob)


def _changed_logits(
    stream: TextImage | None,
    settings: Settings,
    has_null: bool,
    logits: Array,
    position: Array,
) -> Array:
    """Logits [N, V] that the next token is drawn from, of the network's [R N, V].

    The mask of the stream comes after guidance, in which -inf - (-inf) would be NaN.
    """
    if has_null:
        conditional, unconditional = jnp.split(logits, 2)
        logits = filters.guide(conditional, unconditional, settings.guidance)
    if stream is not None:
        logits = jnp.where(stream.allowed(position), logits, -jnp.inf)
    logits = filters.with_temperature(logits, settings.temperature)
    logits = logits if settings.top_k is None else filters.top_k(logits, settings.top_k)
    return logits if settings.top_p is None else filters.top_p(logits, settings.top_p)


def _begin_cached(network: CausalNetwork, params: PyTree, prompts: Array) -> tuple[PyTree, Advance]:
    """The memory is the network's cache, for a network that has one."""
    rows, num_given = prompts.shape
    prefill = cast(Callable, network.prefill)
    init_cache = cast(Callable, network.init_cache)
    cache = prefill(params, prompts)[0] if num_given else init_cache(rows)
    return cache, partial(cast(Callable, network.step), params)


def _begin_uncached(
    network: CausalNetwork, params: PyTree, prompts: Array
) -> tuple[PyTree, Advance]:
    """The memory is the sequence so far. What stands from `position` on has no effect, since the
    network is causal."""
    rows, num_given = prompts.shape
    sequence = jnp.pad(prompts, ((0, 0), (0, network.length - num_given)))

    def advance(sequence: Array, last: Array, position: Array) -> tuple[Array, Array]:
        before = jnp.maximum(position - 1, 0)  # at position 0 the value written is never read
        sequence = jax.lax.dynamic_update_slice_in_dim(sequence, last[:, None], before, axis=1)
        logits = network.logits(params, sequence)
        return sequence, jax.lax.dynamic_index_in_dim(logits, position, 1, keepdims=False)

    return sequence, advance
