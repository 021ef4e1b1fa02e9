"""The transformer: one pass, prefill and steps agree; nothing sees what comes after it."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from dgm_jax import core
from dgm_jax.core import ConfigError, DataError
from dgm_jax.networks.transformer import Transformer, from_transformer
from dgm_jax.networks.transformer_block import _attend_by_halves

VOCAB, LENGTH = 7, 8
SIZES = {
    "vocab_size": VOCAB,
    "context_length": LENGTH,
    "width": 12,
    "num_layers": 2,
    "num_heads": 3,
}
OPTIONS = {
    "plain": {"init_name": "torch", "gain": 2.0},
    "stream": {"init_name": "torch", "gain": 2.0, "num_prefix": 2, "grid": (2, 3), "pad_id": 0},
}


def products(jaxpr):
    """Every product in a traced function and in the functions it calls."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from products(inner)


@functools.cache
def network(name="plain", **changes):
    """(CausalNetwork, parameters with every bias and gain away from its start)."""
    net = from_transformer(Transformer(**{**SIZES, **OPTIONS[name], **changes}))

    def start(key):
        leaves, tree = jax.tree.flatten(net.init(key))
        keys = jax.random.split(key, len(leaves))
        moved = [
            leaf + 0.1 * core.normal(key, leaf.shape)
            for leaf, key in zip(leaves, keys, strict=True)
        ]
        return jax.tree.unflatten(tree, moved)

    return net._replace(logits=jax.jit(net.logits)), jax.jit(start)(jax.random.key(0))


def tokens_of(batch=3, seed=0):
    return jnp.asarray(np.random.default_rng(seed).integers(0, VOCAB, (batch, LENGTH)), jnp.int32)


def steps_from(net, params, cache, tokens, start):
    """Logits of the positions start..T-1, one at a time, in one scan."""

    def body(cache, position):
        before = jax.lax.dynamic_index_in_dim(
            tokens, jnp.maximum(position - 1, 0), 1, keepdims=False
        )
        return net.step(params, cache, before, position)

    return jax.lax.scan(body, cache, jnp.arange(start, LENGTH))[1].swapaxes(0, 1)


@pytest.mark.parametrize(
    "name, heads", [("plain", 3), ("stream", 3), ("plain", 1), ("plain", 2), ("plain", 6)]
)
def test_cached_logits_equal_uncached_at_every_position(name, heads):
    net, params = network(name, num_heads=heads)
    tokens = tokens_of()
    full = net.logits(params, tokens)
    assert full.shape == (3, LENGTH, VOCAB) and full.dtype == jnp.float32 and np.std(full) > 0.3
    cached = jax.jit(lambda p, x: steps_from(net, p, net.init_cache(3), x, 0))(params, tokens)
    np.testing.assert_allclose(cached, full, atol=1e-4)


@pytest.mark.parametrize("name, prompt", [("plain", 1), ("stream", 5)])
def test_prefill_and_steps_equal_one_pass(name, prompt):
    net, params = network(name)
    tokens = tokens_of()

    def both(params, tokens):
        cache, first = net.prefill(params, tokens[:, :prompt])
        return jnp.concatenate(
            [first, steps_from(net, params, cache, tokens, prompt)], 1
        ), net.logits(params, tokens)

    mixed, full = jax.jit(both)(params, tokens)
    np.testing.assert_allclose(mixed, full, atol=1e-4)


@pytest.mark.parametrize("name", OPTIONS)
def test_logits_see_every_token_before_them_and_none_after(name):
    """Another token at place j changes the logits at t exactly where j < t."""
    net, params = network(name)
    tokens = tokens_of(1)
    changed = jnp.tile(tokens, (LENGTH, 1))
    places = jnp.arange(LENGTH)
    changed = changed.at[places, places].set((tokens[0] + 1) % VOCAB)
    logits = net.logits(params, jnp.concatenate([tokens, changed]))
    moved = np.abs(logits[1:] - logits[0]).max(-1)  # [j, t]
    later = np.arange(LENGTH)[None, :] > np.arange(LENGTH)[:, None]
    assert np.all(moved[~later] == 0)
    assert np.all(moved[later] > 1e-4)


def test_a_shorter_sequence_has_the_same_logits():
    net, params = network()
    tokens = tokens_of()
    full = net.logits(params, tokens)
    np.testing.assert_allclose(net.logits(params, tokens[:, :3]), full[:, :3], atol=1e-5)


def test_the_pad_token_has_an_embedding_of_its_own_at_each_text_position():
    """Gradients: the embeddings of padding are read exactly where a text position held the pad
    id."""
    net, params = network("stream")

    grad = jax.jit(jax.grad(lambda p, tokens: jnp.sum(jnp.sin(net.logits(p, tokens)))))

    def read(tokens):
        grads = grad(params, tokens)
        return (
            np.abs(grads["pad_embedding"]).max(1) > 0,
            np.abs(grads["token_embedding"]).max(1) > 0,
        )

    rows = [jnp.array([row]) for row in ([0, 3] + [1] * 6, [3, 0] + [1] * 6, [3, 3] + [0] * 6)]
    assert read(rows[0])[0].tolist() == [True, False]
    assert read(rows[1])[0].tolist() == [False, True]
    pads, ids = read(rows[2])  # id 0 among the image tokens is no padding
    assert pads.tolist() == [False, False] and ids[0]
    assert not read(rows[0])[1][0]


def test_image_positions_are_the_sum_of_a_row_and_a_column():
    net, params = network("stream")
    assert params["row_embedding"].shape == (2, 12) and params["column_embedding"].shape == (3, 12)
    tokens = tokens_of(1)
    logits = net.logits(params, tokens)
    second = {**params, "row_embedding": params["row_embedding"].at[1].add(1.0)}
    moved = np.abs(net.logits(second, tokens) - logits).max(-1)[0]
    np.testing.assert_array_equal(moved > 0, np.arange(LENGTH) >= 2 + 3)
    last = {**params, "column_embedding": params["column_embedding"].at[2].add(1.0)}
    moved = np.abs(net.logits(last, tokens) - logits).max(-1)[0]
    np.testing.assert_array_equal(moved > 0, np.arange(LENGTH) >= 2 + 2)


def test_bfloat16_products_keep_float32_parameters_and_logits():
    net, params = network()
    half, _ = network(dtype=jnp.bfloat16)
    shapes = jax.eval_shape(half.init, jax.random.key(0))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(shapes))
    tokens = tokens_of()
    logits = half.logits(params, tokens)
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, net.logits(params, tokens), atol=0.1)
    assert half.init_cache(2).keys[0].dtype == jnp.bfloat16
    cached = jax.jit(lambda p, x: steps_from(half, p, half.init_cache(3), x, 0))(params, tokens)
    np.testing.assert_allclose(cached, logits, atol=0.1)


def test_dropout_needs_a_key_only_where_it_drops():
    net, params = network()
    tokens, key = tokens_of(), jax.random.key(3)
    full = net.logits(params, tokens)
    np.testing.assert_array_equal(net.logits(params, tokens, key), full)  # rate 0
    dropping, _ = network(dropout=0.5)
    np.testing.assert_allclose(dropping.logits(params, tokens), full, atol=1e-6)
    noisy = dropping.logits(params, tokens, key)
    assert np.abs(noisy - full).max() > 1e-2
    np.testing.assert_array_equal(noisy, dropping.logits(params, tokens, key))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_heads": 5}, "divisible by num_heads"),
        ({"dropout": 1.0}, "dropout must be in"),
        ({"grid": (2, 3)}, "context_length must be num_prefix"),
        ({"grid": (2, 3, 1)}, r"grid must be \(h, w\), got"),
        ({"pad_id": 0}, "pad_id needs num_prefix"),
        ({"pad_id": VOCAB, "num_prefix": 1}, "pad_id must be in"),
        ({"num_prefix": LENGTH + 1}, "num_prefix must be in"),
        ({"num_layers": 0}, "num_layers must be at least 1"),
        ({"init_name": "ortogonal"}, "orthogonal"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        from_transformer(Transformer(**{**SIZES, **changes})).init(jax.random.key(0))


@pytest.mark.parametrize(
    "tokens, message",
    [
        (jnp.zeros((1, LENGTH + 1), jnp.int32), "positions long"),
        (jnp.zeros((1, 0), jnp.int32), "positions long"),
        (jnp.zeros((LENGTH,), jnp.int32), r"shape \[B, T\]"),
        (jnp.zeros((1, 2)), "must be integers"),
        (jnp.full((1, 2), VOCAB), "ids in 0..6, got ids from 7 to 7"),
        (jnp.full((1, 2), -1), "ids in 0..6"),
    ],
)
def test_tokens_that_do_not_fit_are_refused(tokens, message):
    _, params = network()
    net = from_transformer(Transformer(**SIZES, **OPTIONS["plain"]))
    for call in (net.logits, net.prefill):
        with pytest.raises(DataError, match=message):
            call(params, tokens)


def test_known_tokens_inside_a_traced_function_are_checked():
    net, params = network()
    tokens = tokens_of()
    np.testing.assert_allclose(
        jax.jit(lambda p: net.logits(p, tokens))(params), net.logits(params, tokens), atol=1e-5
    )


def test_a_known_position_beyond_the_context_is_refused():
    net, params = network()
    with pytest.raises(DataError, match="outside the context"):
        net.step(params, net.init_cache(1), jnp.zeros((1,), jnp.int32), LENGTH)


def test_rematerialization_changes_no_parameter_and_no_gradient():
    """With dropout, whose draws have to be repeated; `step` works with the same parameters."""
    tokens = tokens_of()
    nets = [network(remat=r, dropout=0.2, num_layers=1) for r in (False, True)]
    (plain, params), (remat, others) = nets
    assert jax.tree.structure(params) == jax.tree.structure(others)
    jax.tree.map(np.testing.assert_array_equal, params, others)

    def gradient(net):
        loss = lambda p: jnp.sum(jnp.sin(net.logits(p, tokens, jax.random.key(3))))
        return jax.jit(jax.grad(loss))(params)

    a, b = gradient(plain), gradient(remat)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), a, b)


def test_gradients_of_kernels_are_products_of_two_matrices():
    net, params = network()
    tokens = tokens_of()
    loss = lambda params: jnp.sum(net.logits(params, tokens) ** 2)
    found = list(products(jax.make_jaxpr(jax.grad(loss))(params).jaxpr))
    dense = [e for e in found if e.params["dimension_numbers"][1] == ((), ())]
    assert len(dense) == 3 * (4 * SIZES["num_layers"] + 1)  # forward, of the input, of the kernel
    assert {tuple(v.aval.ndim for v in e.invars) for e in dense} == {(2, 2)}


def test_the_heads_of_attention_are_computed_by_halves_on_cpu_only():
    """Of each of the two layers two products, in float32: scores and weighted values."""
    net, params = network()
    tokens = tokens_of()

    def heads_on(platform):
        exported = jax.export.export(net.logits, platforms=[platform])(params, tokens)
        results = re.findall(r"dot_general.*-> tensor<3x(\d)x8x\dxf32>", exported.mlir_module())
        return [int(heads) for heads in results]

    assert heads_on("tpu") == [3, 3] * 2
    assert sorted(heads_on("cpu")) == [1] * 4 + [2] * 4


@pytest.mark.parametrize("vary", ["grad", "vmap of grad", "jvp of grad"])
def test_halves_of_attention_have_the_derivatives_of_the_whole(vary):
    rng = np.random.default_rng(5)
    shape = (2, 3, 4, 5)
    query, keys, values = (jnp.asarray(rng.normal(size=shape), jnp.float32) for _ in range(3))
    mask = jnp.tril(jnp.ones((4, 4), bool))
    weights = jnp.asarray(rng.normal(size=shape), jnp.float32)

    def whole(query, keys, values):
        scores = jnp.sum(query[:, :, :, None] * keys[:, :, None], -1) / np.sqrt(5)
        shares = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf), -1)
        return jnp.sum(shares[..., None] * values[:, :, None], -2)

    def derivative(attend):
        loss = lambda *operands: jnp.sum(weights * attend(*operands) ** 2)
        gradient = jax.grad(loss, (0, 1, 2))
        if vary == "grad":
            return gradient(query, keys, values)
        if vary == "vmap of grad":
            batch = lambda x: jnp.stack([x, 2 * x, -x])
            return jax.vmap(gradient)(batch(query), batch(keys), batch(values))
        return jax.jvp(gradient, (query, keys, values), (keys, values, query))[1]

    halves = lambda *operands: _attend_by_halves(*operands, mask)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
        derivative(jax.jit(halves)),
        derivative(whole),
    )
