"""Autoregressive models of discrete tokens: log p(x) = sum_t log p(x_t | x_<t), exact, and sampled
in one loop.

One recipe for a sequence, for a stream of text and image tokens (Ramesh et al. 2021), and for the
prior over the code grid of a VQ-VAE (van den Oord et al. 2017, section 3.3). The network is a
`CausalNetwork`: `networks.from_transformer`, sampled with a cache of keys and values in O(T^2), or
`networks.from_pixel_cnn`, which has no cache and makes a full pass for every position. Sampling is
one `lax.scan` over positions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, Aux, DataError, Player, Prior, PyTree, checks, described, require
from dgm_jax.densities import categorical
from dgm_jax.networks.causal import CausalNetwork, require_tokens
from dgm_jax.sampling import gumbel
from dgm_jax.sampling import logits as filters

AUTOREGRESSIVE = "autoregressive"
# from here on the tail of 24-bit Gumbel noise is felt (sampling.gumbel_noise)
_LARGE_VOCABULARY = 10_000


class Samples(NamedTuple):
    """What was drawn after a prompt of P tokens.

    tokens: int32[N, T - P]. log_prob: [N] in nats, of the law that was drawn from: at temperature 1
        without
    truncation and guidance that of the model, `log_prob(params, tokens, prompt)`.
    """

    tokens: Array
    log_prob: Array


class Autoregressive(NamedTuple):
    """A `core.Model` (its four fields come first) with exact log-probabilities.

    log_prob: `(params, tokens[B, T - P], prompt=None) -> [B]`, log p(tokens | prompt) in nats; a
        prompt is int[P] or [B, P]. Tokens that a `TextImage` stream excludes at their position have
        -inf.
    sample: `(params, state, key,
        num_samples, *, prompt=None, temperature=1.0, top_k=None, top_p=None, guidance=1.0,
        null_prompt=None) -> Samples`. The
        prompt and the null prompt of classifier-free guidance (`sampling.guide`) are int[P] or
        [num_samples, P] of one length, P < T.
    sample_uncached: the same draws with a full pass for every position; the reference for tests and
        benchmarks.
    """

    init: Callable
    players: dict[str, Player]
    sample: Callable[..., Samples]
    decode: None
    log_prob: Callable[..., Array]
    sample_uncached: Callable[..., Samples]


@dataclass(frozen=True)
class TextImage:
    """A single stream of text tokens, then image tokens, in one space of ids (Ramesh et al. 2021,
    section 2.2).

    Text has the ids 0..text_vocab-1, image code c the id text_vocab + c. Positions before
    text_length draw text, the image_length after them image tokens: other ids have probability zero
    there.
    """

    text_length: int
    text_vocab: int
    image_length: int
    image_vocab: int

    def join(self, text: Array, codes: Array) -> Array:
        """tokens int32[B, T] of texts int[B, text_length] and codes int[B, *grid]; DataError for
        unknown ids."""
        text = require_tokens(text, self.text_vocab, "text")
        codes = require_tokens(
            jnp.reshape(codes, (jnp.shape(codes)[0], -1)), self.image_vocab, "codes"
        )
        lengths, expected = (text.shape[1], codes.shape[1]), (self.text_length, self.image_length)
        require(
            lengths == expected,
            f"text and codes must be {expected} tokens long, got {lengths}",
            DataError,
        )
        return jnp.concatenate([text, codes + self.text_vocab], 1)

    def codes(self, tokens: Array) -> Array:
        """Codes [B, image_length] in 0..image_vocab-1 of the last image_length of tokens [B, T]."""
        return tokens[:, -self.image_length :] - self.text_vocab

    def allowed(self, positions: Array) -> Array:
        """Which ids can stand at positions [*B]: bool[*B, text_vocab + image_vocab]."""
        image_id = jnp.arange(self.text_vocab + self.image_vocab) >= self.text_vocab
        return image_id == (jnp.asarray(positions) >= self.text_length)[..., None]


class _Settings(NamedTuple):
    """How the law of the next token is changed before it is drawn."""

    temperature: Any
    top_k: int | None
    top_p: Any
    guidance: Any


def autoregressive(
    network: CausalNetwork, *, stream: TextImage | None = None, text_weight: float | None = None
) -> Autoregressive:
    """One player, `autoregressive`, that minimises the cross-entropy of tokens in nats.

        loss = mean over examples of -sum_t log p(x_t | x_<t)
        loss = text_weight * nats per text token + (1 - text_weight) * nats per image token

    The second where `text_weight` is given; DALL-E has 1/8 (Ramesh et al. 2021, section 2.2).
    Padding counts as text. A batch is `{"x": int[B, *S]}`, read in raster order, T tokens for each
    example; with a stream `{"text": int[B, text_length], "x": codes[B, *grid]}`.

    Metrics: `nats` an example, `bits_per_token`; with a stream `nats_text`, `nats_image`,
    `bits_per_text_token`, `bits_per_image_token`. Guidance needs a model that has seen
    `null_prompt` as text (about a tenth of the training texts replaced by padding). The loss's key
    is the dropout's.
    """
    require(
        isinstance(network, CausalNetwork),
        "network must be a networks.CausalNetwork, such as networks.from_transformer(module) gives;"
        f" got {described(network)}",
    )
    if stream is not None:
        sizes = (stream.text_vocab + stream.image_vocab, stream.text_length + stream.image_length)
        held = (network.vocab_size, network.length)
        require(sizes == held, f"the stream has {sizes} (ids, positions), the network {held}")
    require(
        text_weight is None or stream is not None, "text_weight needs a stream of text and image"
    )
    if text_weight is not None:
        checks.share(text_weight, "text_weight")

    holds = {"x": None} | ({} if stream is None else {"text": (stream.text_length,)})

    def init(key):
        return {AUTOREGRESSIVE: network.init(checks.one_key(key))}, {AUTOREGRESSIVE: {}}

    def loss(params, state, batch, key):
        checks.batch(batch, "an autoregressive model", **holds)
        x = batch["x"]
        tokens = (
            jnp.reshape(x, (x.shape[0], -1)) if stream is None else stream.join(batch["text"], x)
        )
        log_p = _token_log_prob(network, stream, params[AUTOREGRESSIVE], tokens, key)
        value, metrics = _loss_of(log_p, stream, text_weight)
        return value, Aux(state, metrics)

    def log_prob(params, tokens, prompt=None):
        return _log_prob(network, stream, params[AUTOREGRESSIVE], tokens, prompt)

    def draw(
        cached,
        params,
        state,
        key,
        num_samples,
        *,
        prompt=None,
        temperature=1.0,
        top_k=None,
        top_p=None,
        guidance=1.0,
        null_prompt=None,
    ):
        del state
        prompts = _prompts(network, stream, num_samples, prompt, null_prompt, guidance)
        settings = _Settings(temperature, top_k, top_p, guidance)
        return _generate(
            network, stream, params[AUTOREGRESSIVE], key, num_samples, prompts, settings, cached
        )

    players = {AUTOREGRESSIVE: Player((AUTOREGRESSIVE,), loss)}
    sample = partial(draw, network.step is not None)
    return Autoregressive(init, players, sample, None, log_prob, partial(draw, False))


def code_prior(network: CausalNetwork, grid: tuple[int, ...]) -> Prior:
    """A class-free prior over grids of codes int[*B, *grid] in raster order, with a learned start.

    init: `key -> params`. sample: `(params, key, n) -> int32[n, *grid]`. log_prob:
        `(params, codes[*B, *grid]) -> [*B]`
    in nats. The parameters are those of `autoregressive(network)` under its part's name. Raises
    ConfigError unless the grid has as many places as the network positions.
    """
    places = int(np.prod(grid))
    require(
        places == network.length,
        f"the grid {tuple(grid)} has {places} places, the network {network.length}",
    )
    model = autoregressive(network)

    def sample(params, key, n):
        return model.sample({AUTOREGRESSIVE: params}, {}, key, n).tokens.reshape(n, *grid)

    def log_prob(params, codes):
        codes = jnp.asarray(codes)
        leading = codes.shape[: codes.ndim - len(grid)]
        fits = codes.ndim >= len(grid) and codes.shape[len(leading) :] == tuple(grid)
        require(
            fits, f"codes must be [*B, {', '.join(map(str, grid))}], got {codes.shape}", DataError
        )
        return model.log_prob({AUTOREGRESSIVE: params}, codes.reshape(-1, places)).reshape(leading)

    return Prior(network.init, sample, log_prob)


def _token_log_prob(network, stream, params: PyTree, tokens: Array, key=None) -> Array:
    """log p(x_t | x_<t) of tokens [B, T]: [B, T]."""
    logits = network.logits(params, tokens, key)
    if stream is not None:
        logits = jnp.where(stream.allowed(jnp.arange(tokens.shape[1])), logits, -jnp.inf)
    return categorical.log_prob(tokens, logits)


def _loss_of(log_p, stream, text_weight):
    """(loss, metrics) of log-probabilities [B, T] of tokens."""
    per_token = -jnp.mean(log_p, 0)
    nats = jnp.sum(per_token)
    metrics = {"nats": nats, "bits_per_token": jnp.mean(per_token) / np.log(2)}
    if stream is None:
        return nats, metrics
    text, image = jnp.split(per_token, [stream.text_length])
    metrics |= {"nats_text": jnp.sum(text), "nats_image": jnp.sum(image)}
    metrics |= {
        "bits_per_text_token": jnp.mean(text) / np.log(2),
        "bits_per_image_token": jnp.mean(image) / np.log(2),
    }
    if text_weight is None:
        return nats, metrics
    return text_weight * jnp.mean(text) + (1 - text_weight) * jnp.mean(image), metrics


def _log_prob(network, stream, params, tokens, prompt):
    """log p(tokens | prompt): [B]."""
    tokens = require_tokens(tokens, network.vocab_size)
    if prompt is None:
        return jnp.sum(_token_log_prob(network, stream, params, tokens), -1)
    prompt = _prompt(network, stream, tokens.shape[0], prompt, "prompt")
    joined = jnp.concatenate([prompt, tokens], 1)
    return jnp.sum(_token_log_prob(network, stream, params, joined)[:, prompt.shape[1] :], -1)


def _prompt(network, stream, rows, prompt, name):
    """A prompt int[P] or [rows, P] as int32[rows, P]; DataError where it does not fit or has ids
    not allowed there."""
    prompt = jnp.asarray(prompt)
    prompt = require_tokens(prompt[None] if prompt.ndim == 1 else prompt, network.vocab_size, name)
    given, length = prompt.shape
    require(
        given in (1, rows),
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


def _prompts(network, stream, rows, prompt, null_prompt, guidance):
    """int32[R rows, P]: the prompts, and with a null prompt (R = 2) the null prompts after them."""
    require(rows >= 1, f"num_samples must be at least 1, got {rows}")
    prompts = _prompt(
        network, stream, rows, np.zeros((0,), np.int32) if prompt is None else prompt, "prompt"
    )
    if null_prompt is None:
        plain = checks.is_concrete(guidance) and bool(np.all(np.asarray(guidance) == 1))
        require(plain, "guidance other than 1 needs a null_prompt")
        return prompts
    null = _prompt(network, stream, rows, null_prompt, "null_prompt")
    require(
        null.shape == prompts.shape,
        "prompt and null_prompt must have the same length, "
        f"got {prompts.shape[1]} and {null.shape[1]}",
        DataError,
    )
    return jnp.concatenate([prompts, null])


def _generate(network, stream, params, key, num_samples, prompts, settings, cached) -> Samples:
    """One scan over the positions after the prompts [R N, P]."""
    rows, given = prompts.shape
    begin = _begin_cached if cached else _begin_uncached
    memory, advance = begin(network, params, prompts)
    last = prompts[:, -1] if given else jnp.zeros((rows,), jnp.int32)
    mode = "high" if network.vocab_size >= _LARGE_VOCABULARY else "low"

    def body(carry, inputs):
        memory, last, log_prob = carry
        key, position = inputs
        memory, logits = advance(memory, last, position)
        law = _law(stream, settings, logits, position, num_samples)
        token = gumbel.gumbel_max(key, law, mode=mode)
        log_prob = log_prob + categorical.log_prob(token, law)
        return (memory, jnp.tile(token, rows // num_samples), log_prob), token

    steps = jax.random.split(key, network.length - given), jnp.arange(given, network.length)
    (_, _, log_prob), tokens = jax.lax.scan(body, (memory, last, jnp.zeros((num_samples,))), steps)
    return Samples(tokens.T, log_prob)


def _law(stream, settings, logits, position, num_samples):
    """Logits [N, V] that the next token is drawn from. Masks come after guidance: -inf - (-inf)
    would be NaN."""
    if logits.shape[0] > num_samples:
        logits = filters.guide(logits[:num_samples], logits[num_samples:], settings.guidance)
    if stream is not None:
        logits = jnp.where(stream.allowed(position), logits, -jnp.inf)
    logits = filters.with_temperature(logits, settings.temperature)
    logits = logits if settings.top_k is None else filters.top_k(logits, settings.top_k)
    return logits if settings.top_p is None else filters.top_p(logits, settings.top_p)


def _begin_cached(network, params, prompts):
    rows, given = prompts.shape
    cache = network.prefill(params, prompts)[0] if given else network.init_cache(rows)
    return cache, partial(network.step, params)


def _begin_uncached(network, params, prompts):
    """The memory is the sequence so far; what stands after `position` does not matter, the network
    is causal."""
    rows, given = prompts.shape
    sequence = jnp.pad(prompts, ((0, 0), (0, network.length - given)))

    def advance(sequence, last, position):
        before = jnp.maximum(position - 1, 0)  # at position 0 this writes what nothing reads
        sequence = jax.lax.dynamic_update_slice_in_dim(sequence, last[:, None], before, axis=1)
        return sequence, jax.lax.dynamic_index_in_dim(
            network.logits(params, sequence), position, 1, keepdims=False
        )

    return sequence, advance
