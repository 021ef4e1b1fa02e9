"""Autoregressive models of discrete tokens: log p(x) = sum_t log p(x_t | x_<t), exact, and sampled
in one loop.

One recipe for a sequence, for a stream of text and image tokens (Ramesh et al. 2021), and for the
prior over the code grid of a VQ-VAE (van den Oord et al. 2017, section 3.3). The network is a
`CausalNetwork`: `networks.from_transformer`, sampled with a cache of keys and values in O(T^2), or
`networks.from_pixel_cnn`, which has no cache and makes a full pass for every position. Sampling is
one `lax.scan` over positions.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from dgm_jax.core import (
    Array,
    Aux,
    DataError,
    Key,
    Params,
    Player,
    Prior,
    PyTree,
    State,
    checks,
    described,
    require,
)
from dgm_jax.densities import categorical
from dgm_jax.models._text_image import TextImage
from dgm_jax.models._token_sampling import (
    Samples,
    Settings,
    checked_prompt,
    generate,
    prompts_of,
)
from dgm_jax.networks.causal import CausalNetwork, require_tokens

AUTOREGRESSIVE = "autoregressive"


class Autoregressive(NamedTuple):
    """A `core.Model` (its four fields come first) with exact log-probabilities.

    Attributes:
        init: `key -> (params, state)`.
        players: the one player, by name.
        sample: `(params, state, key, num_samples, *, prompt=None, temperature=1.0, top_k=None,
            top_p=None, guidance=1.0, null_prompt=None) -> Samples`. The prompt and the null prompt
            of classifier-free guidance (`sampling.guide`) are int[P] or [num_samples, P] of one
            length, P < T.
        decode: None, since there are no latents.
        log_prob: `(params, tokens [B, T - P], prompt=None) -> [B]`, log p(tokens | prompt) in nats;
            a prompt is int[P] or [B, P]. Tokens that a `TextImage` stream excludes at their
            position have -inf.
        sample_uncached: the same draws with a full pass for every position, as the reference for
            tests and benchmarks.
    """

    init: Callable[[Key], tuple[Params, State]]
    players: dict[str, Player]
    sample: Callable[..., Samples]
    decode: None
    log_prob: Callable[..., Array]
    sample_uncached: Callable[..., Samples]


def autoregressive(
    network: CausalNetwork, *, stream: TextImage | None = None, text_weight: float | None = None
) -> Autoregressive:
    """Make the model and its one player, "autoregressive", which minimizes the cross-entropy.

        loss = mean over examples of -sum_t log p(x_t | x_<t)
        loss = text_weight * nats per text token + (1 - text_weight) * nats per image token

    The second form is used if `text_weight` is given. Padding counts as text. A batch is
    `{"x": int[B, *S]}`, read in raster order, with T tokens per example; with a stream it is
    `{"text": int[B, text_length], "x": codes [B, *grid]}`. The key of the loss is for dropout.

    Guidance in sampling needs a model that has seen `null_prompt` as text (about a tenth of the
    training texts replaced by padding).

    Args:
        network: over V ids and T positions.
        stream: of text and image tokens, or None.
        text_weight: weight of the text in the loss; 1/8 in DALL-E (Ramesh et al. 2021,
            section 2.2).

    Returns:
        The model, with its loss in nats. Metrics: `nats` per example, `bits_per_token`; with a
        stream `nats_text`, `nats_image`, `bits_per_text_token`, `bits_per_image_token`.

    Raises:
        ConfigError: `network` is not a `CausalNetwork`, the stream does not fit it, or text_weight
            is out of range or has no stream; from the loss, a batch that does not fit.
    """
    require(
        isinstance(network, CausalNetwork),
        "network must be a networks.CausalNetwork, such as networks.from_transformer(module) gives;"
        f" got {described(network)}",
    )
    _require_stream(network, stream, text_weight)
    entries: dict[str, tuple[int, ...] | None] = {"x": None}
    if stream is not None:
        entries["text"] = (stream.text_length,)

    def init(key: Key) -> tuple[Params, State]:
        return {AUTOREGRESSIVE: network.init(checks.one_key(key))}, {AUTOREGRESSIVE: {}}

    def loss(params: Params, state: State, batch: PyTree, key: Key) -> tuple[Array, Aux]:
        checks.batch(batch, "an autoregressive model", **entries)
        x = batch["x"]
        if stream is None:
            tokens = jnp.reshape(x, (x.shape[0], -1))
        else:
            tokens = stream.join(batch["text"], x)
        log_p = _token_log_prob(network, stream, params[AUTOREGRESSIVE], tokens, key)
        value, metrics = _loss_of(log_p, stream, text_weight)
        return value, Aux(state, metrics)

    def log_prob(params: Params, tokens: Array, prompt: Array | None = None) -> Array:
        return _log_prob(network, stream, params[AUTOREGRESSIVE], tokens, prompt)

    def draw(
        cached: bool,
        params: Params,
        state: State,
        key: Key,
        num_samples: int,
        *,
        prompt: Array | None = None,
        temperature: Array | float = 1.0,
        top_k: int | None = None,
        top_p: Array | float | None = None,
        guidance: Array | float = 1.0,
        null_prompt: Array | None = None,
    ) -> Samples:
        del state
        prompts = prompts_of(network, stream, num_samples, prompt, null_prompt, guidance)
        settings = Settings(temperature, top_k, top_p, guidance)
        return generate(
            key, network, stream, params[AUTOREGRESSIVE], num_samples, prompts, settings, cached
        )

    return Autoregressive(
        init=init,
        players={AUTOREGRESSIVE: Player((AUTOREGRESSIVE,), loss)},
        sample=partial(draw, network.step is not None),
        decode=None,
        log_prob=log_prob,
        sample_uncached=partial(draw, False),
    )


def code_prior(network: CausalNetwork, grid: tuple[int, ...]) -> Prior:
    """Make a prior over grids of codes in raster order, without classes, with a learned start.

    Args:
        network: over as many positions as the grid has.
        grid: the shape of the codes, such as (h, w).

    Returns:
        The prior over codes int[*B, *grid], with `log_prob` [*B] in nats. Its parameters are those
        of `autoregressive(network)` under its part's name.

    Raises:
        ConfigError: the grid has another number of positions than the network.
        DataError: from `log_prob`, codes of another shape.
    """
    num_codes = int(np.prod(grid))
    require(
        num_codes == network.length,
        f"the grid {tuple(grid)} has {num_codes} places, the network {network.length}",
    )
    model = autoregressive(network)

    def sample(params: PyTree, key: Key, n: int) -> Array:
        return model.sample({AUTOREGRESSIVE: params}, {}, key, n).tokens.reshape(n, *grid)

    def log_prob(params: PyTree, codes: Array) -> Array:
        codes = jnp.asarray(codes)
        leading = codes.shape[: codes.ndim - len(grid)]
        fits = codes.ndim >= len(grid) and codes.shape[len(leading) :] == tuple(grid)
        message = f"codes must be [*B, {', '.join(map(str, grid))}], got {codes.shape}"
        require(fits, message, DataError)
        tokens = codes.reshape(-1, num_codes)
        return model.log_prob({AUTOREGRESSIVE: params}, tokens).reshape(leading)

    return Prior(network.init, sample, log_prob)


def _require_stream(
    network: CausalNetwork, stream: TextImage | None, text_weight: float | None
) -> None:
    if stream is not None:
        num_ids = stream.text_vocab + stream.image_vocab
        sizes = (num_ids, stream.text_length + stream.image_length)
        expected = (network.vocab_size, network.length)
        message = f"the stream has {sizes} (ids, positions), the network {expected}"
        require(sizes == expected, message)
    if text_weight is not None:
        require(stream is not None, "text_weight needs a stream of text and image")
        checks.share(text_weight, "text_weight")


def _token_log_prob(
    network: CausalNetwork,
    stream: TextImage | None,
    params: PyTree,
    tokens: Array,
    key: Key | None = None,
) -> Array:
    """log p(x_t | x_<t) of tokens [B, T]: [B, T]."""
    logits = network.logits(params, tokens, key)
    if stream is not None:
        logits = jnp.where(stream.allowed(jnp.arange(tokens.shape[1])), logits, -jnp.inf)
    return categorical.log_prob(tokens, logits)


def _loss_of(
    log_p: Array, stream: TextImage | None, text_weight: float | None
) -> tuple[Array, dict[str, Array]]:
    """(loss, metrics) of log-probabilities [B, T] of tokens."""
    per_token = -jnp.mean(log_p, 0)
    nats = jnp.sum(per_token)
    metrics = {"nats": nats, "bits_per_token": jnp.mean(per_token) / np.log(2)}
    if stream is None:
        return nats, metrics
    text, image = jnp.split(per_token, [stream.text_length])
    metrics |= {
        "nats_text": jnp.sum(text),
        "nats_image": jnp.sum(image),
        "bits_per_text_token": jnp.mean(text) / np.log(2),
        "bits_per_image_token": jnp.mean(image) / np.log(2),
    }
    if text_weight is None:
        return nats, metrics
    return text_weight * jnp.mean(text) + (1 - text_weight) * jnp.mean(image), metrics


def _log_prob(
    network: CausalNetwork,
    stream: TextImage | None,
    params: PyTree,
    tokens: Array,
    prompt: Array | None,
) -> Array:
    """log p(tokens | prompt): [B]."""
    tokens = require_tokens(tokens, network.vocab_size)
    if prompt is None:
        return jnp.sum(_token_log_prob(network, stream, params, tokens), -1)
    prompt = checked_prompt(network, stream, tokens.shape[0], prompt, "prompt")
    joined = jnp.concatenate([prompt, tokens], 1)
    log_p = _token_log_prob(network, stream, params, joined)
    return jnp.sum(log_p[:, prompt.shape[1] :], -1)
