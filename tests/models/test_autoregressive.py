"""Autoregressive models: exact probabilities and samples that follow them; text and image in a
stream; code priors."""

import functools
import itertools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from dgm_jax import core, training
from dgm_jax.core import SOLO, ConfigError, DataError
from dgm_jax.models import AUTOREGRESSIVE, TextImage, autoregressive, code_prior
from dgm_jax.networks.pixel_cnn import GatedPixelCNN, from_pixel_cnn
from dgm_jax.networks.transformer import Transformer, from_transformer

SMALL = {"width": 8, "num_layers": 1, "num_heads": 2, "init_name": "torch", "gain": 3.0}
STREAM = TextImage(text_length=2, text_vocab=3, image_length=4, image_vocab=4)


@functools.cache
def network(name):
    if name == "tiny":  # 27 sequences
        return from_transformer(Transformer(3, 3, **SMALL))
    if name == "stream":
        return from_transformer(Transformer(7, 6, num_prefix=2, grid=(2, 2), pad_id=0, **SMALL))
    return from_pixel_cnn(GatedPixelCNN(2, 6, 1, 3, hidden=8), (2, 2))  # 16 grids


@functools.cache
def model_of(name, text_weight=None):
    """(model, params) with logits of order one."""
    stream = STREAM if name == "stream" else None
    model = autoregressive(network(name), stream=stream, text_weight=text_weight)

    def start(key):
        params, _ = model.init(key)
        leaves, tree = jax.tree.flatten(params)
        keys = jax.random.split(jax.random.fold_in(key, 1), len(leaves))
        moved = [
            leaf + 0.3 * core.normal(k, leaf.shape) for leaf, k in zip(leaves, keys, strict=True)
        ]
        return jax.tree.unflatten(tree, moved)

    return model, jax.jit(start)(jax.random.key(0))


def sample(model, params, key, num_samples, cached=True, **settings):
    function = model.sample if cached else model.sample_uncached
    static = {k: settings.pop(k) for k in ("top_k",) if k in settings}
    run = jax.jit(lambda p, k, s: function(p, {AUTOREGRESSIVE: {}}, k, num_samples, **s, **static))
    return run(params, jax.random.key(key), settings)


def all_sequences(vocab, length):
    return jnp.asarray(list(itertools.product(range(vocab), repeat=length)), jnp.int32)


def joined(seed=0, batch=5):
    """Texts, codes and their stream."""
    rng = np.random.default_rng(seed)
    text, codes = rng.integers(0, 3, (batch, 2)), rng.integers(0, 4, (batch, 2, 2))
    return text, codes, STREAM.join(text, codes)


def masked_log_softmax(name, params, tokens):
    """log p(x_t = v | x_<t) in float64 numpy: [B, T, V]."""
    logits = np.float64(jax.jit(network(name).logits)(params[AUTOREGRESSIVE], tokens))
    if name == "stream":
        image_id, image_place = np.arange(7) >= 3, np.arange(6) >= 2
        logits = np.where(image_id == image_place[:, None], logits, -np.inf)
    return scipy.special.log_softmax(logits, -1)


# Probabilities.


@pytest.mark.parametrize("name, vocab, length", [("tiny", 3, 3), ("pixels", 2, 4)])
def test_probabilities_of_all_sequences_sum_to_one_and_samples_follow_them(name, vocab, length):
    model, params = model_of(name)
    sequences = all_sequences(vocab, length)
    log_p = np.float64(jax.jit(model.log_prob)(params, sequences))
    np.testing.assert_allclose(np.exp(log_p).sum(), 1, atol=1e-5)
    assert np.exp(log_p).max() > 2 / len(sequences)  # far from uniform
    drawn = sample(model, params, 3, 20_000)
    index = np.asarray(drawn.tokens) @ vocab ** np.arange(length)[::-1]
    counts = np.bincount(index, minlength=len(sequences))
    p = np.exp(log_p) / np.exp(log_p).sum()
    rare = 20_000 * p < 5
    observed, expected = counts[~rare], 20_000 * p[~rare]
    if rare.any():
        observed, expected = (
            np.append(observed, counts[rare].sum()),
            np.append(expected, 20_000 * p[rare].sum()),
        )
    assert scipy.stats.chisquare(observed, expected).pvalue > 1e-3
    np.testing.assert_allclose(drawn.log_prob, log_p[index], atol=1e-4)


def test_probabilities_of_the_stream_are_those_of_text_then_image():
    """Over the 3^2 4^4 allowed streams they sum to one; another id at any place has probability
    zero."""
    model, params = model_of("stream")
    text, image = all_sequences(3, 2), all_sequences(4, 4)
    streams = STREAM.join(np.repeat(text, len(image), 0), np.tile(image, (len(text), 1)))
    log_prob = jax.jit(model.log_prob)
    np.testing.assert_allclose(np.exp(np.float64(log_prob(params, streams))).sum(), 1, atol=1e-5)
    given = log_prob(params, streams[:256, 2:], streams[:256, :2])
    np.testing.assert_allclose(np.exp(np.float64(given)).sum(), 1, atol=1e-5)
    wrong = np.tile(streams[:1], (len(streams), 1))
    for row, (place, token) in enumerate(((0, 3), (1, 6), (2, 2), (5, 0))):
        wrong[row, place] = token
    assert np.isneginf(log_prob(params, wrong)).tolist() == [True] * 4 + [False] * (
        len(streams) - 4
    )


@pytest.mark.parametrize("text_weight", [None, 1 / 8])
def test_the_loss_is_the_cross_entropy_of_numpy(text_weight):
    model, params = model_of("stream", text_weight)
    text, codes, tokens = joined()
    law = masked_log_softmax("stream", params, tokens)
    nats = -np.take_along_axis(law, np.asarray(tokens)[..., None], -1)[..., 0]
    run = jax.jit(jax.value_and_grad(model.players[AUTOREGRESSIVE].loss, has_aux=True))
    (loss, aux), grads = run(
        params, {AUTOREGRESSIVE: {}}, {"text": text, "x": codes}, jax.random.key(0)
    )
    image = nats[:, 2:].mean()
    expected = nats.sum(1).mean() if text_weight is None else nats[:, :2].mean() / 8 + image * 7 / 8
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["nats"], nats.sum(1).mean(), rtol=1e-5)
    np.testing.assert_allclose(
        aux.metrics["nats_text"] + aux.metrics["nats_image"], aux.metrics["nats"], rtol=1e-5
    )
    np.testing.assert_allclose(aux.metrics["bits_per_image_token"], image / np.log(2), rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["bits_per_token"], nats.mean() / np.log(2), rtol=1e-5)
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(grads))


# Sampling.


@pytest.mark.parametrize("settings", [{}, {"prompt": True, "null_prompt": True, "guidance": 2.5}])
def test_cached_and_uncached_sampling_draw_the_same(settings):
    model, params = model_of("stream")
    text = joined(1, 16)[0]
    prompts = {"prompt": jnp.asarray(text), "null_prompt": jnp.zeros((2,), jnp.int32)}
    settings = {k: prompts.get(k, v) for k, v in settings.items()}
    cached, uncached = (
        sample(model, params, 4, 16, cached, **settings) for cached in (True, False)
    )
    np.testing.assert_array_equal(cached.tokens, uncached.tokens)
    np.testing.assert_allclose(cached.log_prob, uncached.log_prob, atol=1e-4)
    assert cached.tokens.shape == (16, 4 if "prompt" in settings else 6)


@pytest.mark.parametrize("prompted", [False, True])
def test_the_log_probability_of_samples_is_that_of_the_model(prompted):
    model, params = model_of("stream")
    prompt = jnp.asarray(joined(1, 64)[0]) if prompted else None
    drawn = sample(model, params, 5, 64, **({"prompt": prompt} if prompted else {}))
    np.testing.assert_allclose(
        drawn.log_prob, jax.jit(model.log_prob)(params, drawn.tokens, prompt), atol=1e-4
    )


def test_the_law_that_is_drawn_from_is_guided_then_masked_then_tempered_then_truncated():
    """Its log-probability against numpy on full passes; no NaN, although masks are infinite."""
    model, params = model_of("stream")
    rows, scale, temperature, k, p = 64, 3.0, 0.7, 3, 0.8
    text, null = jnp.asarray(joined(2, rows)[0]), jnp.zeros((rows, 2), jnp.int32)
    settings = {"temperature": temperature, "top_k": k, "top_p": p, "guidance": scale}
    drawn = sample(model, params, 6, rows, prompt=text, null_prompt=null[0], **settings)
    run = jax.jit(network("stream").logits)
    laws = [
        np.float64(run(params[AUTOREGRESSIVE], jnp.concatenate([x, drawn.tokens], 1)))[:, 2:]
        for x in (text, null)
    ]
    logits = (laws[1] + scale * (laws[0] - laws[1]))[..., 3:] / temperature  # image ids only
    logits = np.where(logits >= np.sort(logits, -1)[..., [-k]], logits, -np.inf)
    order = np.argsort(-logits, -1)
    sorted_p = np.take_along_axis(scipy.special.softmax(logits, -1), order, -1)
    keep = np.cumsum(sorted_p, -1) - sorted_p < p
    logits = np.where(np.take_along_axis(keep, np.argsort(order, -1), -1), logits, -np.inf)
    codes = np.asarray(STREAM.codes(drawn.tokens))
    assert codes.min() >= 0 and codes.max() <= 3
    expected = np.take_along_axis(scipy.special.log_softmax(logits, -1), codes[..., None], -1)[
        ..., 0
    ].sum(1)
    np.testing.assert_allclose(drawn.log_prob, expected, atol=1e-3)
    assert np.all(np.isfinite(drawn.log_prob)) and len(np.unique(codes)) > 1


def test_guidance_of_one_is_the_conditional_law():
    model, params = model_of("stream")
    text = jnp.asarray(joined(3, 16)[0])
    plain = sample(model, params, 7, 16, prompt=text)
    guided = sample(
        model, params, 7, 16, prompt=text, null_prompt=jnp.zeros((2,), jnp.int32), guidance=1.0
    )
    np.testing.assert_array_equal(plain.tokens, guided.tokens)
    np.testing.assert_allclose(plain.log_prob, guided.log_prob, atol=1e-4)


def test_text_positions_hold_text_and_image_positions_images():
    model, params = model_of("stream")
    tokens = np.asarray(sample(model, params, 8, 500, temperature=5.0).tokens)
    assert tokens[:, :2].max() == 2 and tokens[:, 2:].min() == 3
    assert set(np.unique(tokens)) == set(range(7))


def test_two_seeds_under_vmap_are_each_alone():
    model, _ = model_of("stream")
    keys = jax.random.split(jax.random.key(11), 2)

    def run(key):
        params, state = model.init(key)
        drawn = model.sample(params, state, key, 4, top_p=0.9)
        return drawn, model.log_prob(params, drawn.tokens)

    together, alone = jax.jit(jax.vmap(run))(keys), jax.jit(run)
    for lane in range(2):
        (drawn, log_p), (expected, expected_log_p) = (
            jax.tree.map(operator.itemgetter(lane), together),
            alone(keys[lane]),
        )
        np.testing.assert_array_equal(drawn.tokens, expected.tokens)
        np.testing.assert_allclose(drawn.log_prob, expected.log_prob, atol=1e-4)
        np.testing.assert_allclose(log_p, expected_log_p, atol=1e-4)


# Training and priors.


def test_adam_memorises_a_set_of_sequences():
    """The loss falls to the entropy of the set, log N, and samples are members of it."""
    grids = np.array(
        [[[0, 1], [2, 3]], [[3, 2], [1, 0]], [[0, 1], [1, 0]], [[2, 2], [2, 2]], [[3, 0], [3, 0]]]
    )
    net = from_transformer(Transformer(4, 4, 32, 1, 2, grid=(2, 2), init_name="torch", dropout=0.0))
    model, prior = autoregressive(net), code_prior(net, (2, 2))
    game = training.make_game(model.players, {AUTOREGRESSIVE: optax.adam(1e-2)}, SOLO)
    batch = {"x": jnp.asarray(grids)}

    def run(key):
        now = training.game.init_state(game, key, *model.init(key))

        def step(now, _):
            seen = training.move(game, AUTOREGRESSIVE, now, batch, key)
            return (
                training.game.apply(game, AUTOREGRESSIVE, now, seen),
                seen.aux.metrics,
            )

        now, metrics = jax.lax.scan(step, now, None, 200)
        params = now.params[AUTOREGRESSIVE]
        return metrics["nats"], prior.log_prob(params, batch["x"]), prior.sample(params, key, 50)

    nats, log_p, drawn = jax.jit(run)(jax.random.key(0))
    assert nats[0] > 4 and nats[-1] < np.log(5) + 0.02
    np.testing.assert_allclose(log_p, -np.log(5), atol=0.1)
    members = (np.asarray(drawn)[:, None] == grids).all((2, 3)).any(1)
    assert drawn.shape == (50, 2, 2) and members.mean() > 0.95


@pytest.mark.parametrize("name", ["tiny", "pixels"])
def test_a_prior_over_grids_is_the_model_in_raster_order(name):
    grid = (2, 2) if name == "pixels" else (1, 3)
    model, params = model_of(name)
    prior = code_prior(network(name), grid)
    own = params[AUTOREGRESSIVE]
    codes = all_sequences(2, network(name).length)[:8]
    log_p = jax.jit(prior.log_prob)(own, codes.reshape(2, 4, *grid))
    np.testing.assert_allclose(log_p.reshape(8), jax.jit(model.log_prob)(params, codes), atol=1e-5)
    drawn = jax.jit(prior.sample, static_argnums=2)(own, jax.random.key(1), 5)
    np.testing.assert_array_equal(drawn.reshape(5, -1), sample(model, params, 1, 5).tokens)
    assert jax.tree.structure(jax.eval_shape(prior.init, jax.random.key(0))) == jax.tree.structure(
        own
    )
    with pytest.raises(ConfigError, match="places"):
        code_prior(network(name), (5, 5))
    with pytest.raises(DataError, match="codes must be"):
        prior.log_prob(own, jnp.zeros((3, 3, 3), jnp.int32))


# Errors.


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"prompt": np.zeros(6, int)}, "leaves nothing to draw in a context of 6"),
        ({"prompt": np.zeros((3, 2), int)}, r"\[P\] or \[2, P\]"),
        ({"prompt": np.full(2, 7)}, "prompt must be ids in 0..6"),
        ({"prompt": np.array([0, 5])}, "must have text ids"),
        ({"prompt": np.array([0, 0, 1])}, "must have text ids"),
        ({"prompt": np.zeros(2)}, "must be integers"),
        ({"prompt": np.zeros(2, int), "guidance": 2.0}, "needs a null_prompt"),
        (
            {"prompt": np.zeros(2, int), "null_prompt": np.zeros(1, int), "guidance": 2.0},
            "the same length",
        ),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"top_k": 9}, "k must be in 1..7"),
        ({"top_p": 0.0}, "p must be in"),
    ],
)
def test_sampling_settings_that_do_not_fit_are_refused(settings, message):
    model, params = model_of("stream")
    with pytest.raises((ConfigError, DataError), match=message):
        model.sample(params, {AUTOREGRESSIVE: {}}, jax.random.key(0), 2, **settings)


def test_tokens_that_do_not_fit_are_refused():
    model, params = model_of("stream")
    with pytest.raises(DataError, match="ids in 0..6"):
        model.log_prob(params, jnp.full((1, 6), 7))
    with pytest.raises(DataError, match="text must be ids in 0..2"):
        STREAM.join(np.full((1, 2), 3), np.zeros((1, 2, 2), int))
    with pytest.raises(DataError, match="codes must be ids in 0..3"):
        STREAM.join(np.zeros((1, 2), int), np.full((1, 2, 2), 4))
    with pytest.raises(DataError, match="tokens long"):
        STREAM.join(np.zeros((1, 2), int), np.zeros((1, 3), int))
    with pytest.raises(ConfigError, match="the stream has"):
        autoregressive(network("tiny"), stream=STREAM)
    with pytest.raises(ConfigError, match="text_weight needs"):
        autoregressive(network("tiny"), text_weight=0.5)
    with pytest.raises(ConfigError, match="text_weight must be in"):
        autoregressive(network("stream"), stream=STREAM, text_weight=2.0)
