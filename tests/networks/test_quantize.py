"""Quantizers as layers of linen and NNX modules: against the recipe, and the codebook by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from dgm_jax import training
from dgm_jax.core import ConfigError
from dgm_jax.densities import discretized_logistic
from dgm_jax.models import VqVae, vqvae
from dgm_jax.networks import NnxQuantize, Quantize, from_flax, from_functions, from_nnx
from dgm_jax.objectives.vqvae import loss as vqvae_loss
from dgm_jax.quantization import (
    codebook_ema,
    codebook_loss_quantizer,
    finite_scalar_quantizer,
    moving_average_quantizer,
    residual_quantizer,
)

K, D, SHAPE = 5, 3, (2, 2, 1)
X = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (8, *SHAPE)), jnp.float32)
KEY = jax.random.key(1)
# without revival, so that no random number is drawn
AVERAGE = moving_average_quantizer(K, D, decay=0.9, threshold=0.0)
LOSS = codebook_loss_quantizer(K, D)


class LinenAutoencoder(nn.Module):
    quantizer: object

    @nn.compact
    def __call__(self, x, train=False):
        z = nn.Dense(2 * D, use_bias=False)(x.reshape(len(x), -1)).reshape(-1, 1, 2, D)
        quantized = Quantize(self.quantizer)(z, train)
        return nn.Dense(8, use_bias=False)(quantized.quantized.reshape(-1, 2 * D)), quantized


class NnxAutoencoder(nnx.Module):
    def __init__(self, quantizer, rngs):
        self.encoder = nnx.Linear(4, 2 * D, use_bias=False, rngs=rngs)
        self.quantize = NnxQuantize(quantizer, rngs=rngs)
        self.decoder = nnx.Linear(2 * D, 8, use_bias=False, rngs=rngs)

    def __call__(self, x):
        z = self.encoder(x.reshape(len(x), -1)).reshape(-1, 1, 2, D)
        quantized = self.quantize(z)
        return self.decoder(quantized.quantized.reshape(-1, 2 * D)), quantized


MAKE = {
    "linen": lambda quantizer: from_flax(LinenAutoencoder(quantizer)),
    "nnx": lambda quantizer: from_nnx(lambda rngs: NnxAutoencoder(quantizer, rngs)),
}


def parts(kind, params, state):
    """(encoder, decoder, codebook as a parameter, state), None for what is not there."""
    if kind == "linen":
        layer = params.get("Quantize_0", {}).get("codebook")
        held = state.get("codebook", {}).get("Quantize_0", {}).get("state")
        return params["Dense_0"]["kernel"], params["Dense_1"]["kernel"], layer, held
    layer, held = params["quantize.params"], state["quantize.state"]
    layer, held = (tree if jax.tree.leaves(tree) else None for tree in (layer, held))
    return params["encoder.kernel"], params["decoder.kernel"], layer, held


def linear(kernel, shape):
    """A recipe's network that starts at the given kernel."""
    return from_functions(
        lambda key, x: kernel, lambda w, x: (x.reshape(len(x), -1) @ w).reshape(-1, *shape)
    )


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("quantizer", [AVERAGE, LOSS], ids=["average", "loss"])
def test_an_autoencoder_with_the_layer_trains_as_the_recipe_does(kind, quantizer):
    """Three steps of gradient descent on the same objective from the same parameters."""
    network = MAKE[kind](quantizer)
    params, state = network.init(KEY, X)
    encoder, decoder, codebook, held = parts(kind, params, state)
    given = (
        codebook if codebook is not None else {},
        held if held is not None else {},
    )
    start = quantizer._replace(init=lambda key, z=None: given)
    vae = VqVae(linear(encoder, (1, 2, D)), linear(decoder, (2, 2, 2)), (1, 2), start)
    model = vqvae(vae, SHAPE)
    algorithm = training.simultaneous(model.players, {"autoencoder": optax.sgd(0.01)})
    now = algorithm.init(jax.random.key(0), *model.init(KEY))

    def loss(params, state):
        (out, quantized), state = network.apply(params, state, X, train=True, key=KEY)
        loc, log_scale = jnp.split(out.reshape(-1, 2, 2, 2), 2, axis=-1)
        levels = jnp.round((X + 1) * 127.5).astype(jnp.int32)
        log_p = discretized_logistic.log_prob(levels, loc, jnp.maximum(log_scale, -7.0), 256)
        likelihood = jnp.sum(log_p, axis=(1, 2, 3))
        return vqvae_loss(likelihood, quantized.codebook_loss, quantized.commitment_loss), state

    for _ in range(3):
        now, _ = algorithm.step(now, lambda index: {"x": X})
        gradient, state = jax.grad(loss, has_aux=True)(params, state)
        params = jax.tree.map(lambda w, g: w - 0.01 * g, params, gradient)
    own = parts(kind, params, state)
    recipes = (now.params["encoder"], now.params["decoder"])
    for one, other, before in zip(own[:2], recipes, (encoder, decoder), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        assert np.max(np.abs(one - before)) > 1e-3
    of_recipe = now.params["codebook"] if quantizer is LOSS else now.state["codebook"]
    for one, other, before in zip(
        *map(jax.tree.leaves, (own[2] if quantizer is LOSS else own[3], of_recipe, given)),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        assert np.any(one != before)


@pytest.mark.parametrize("kind", MAKE)
def test_the_codebook_follows_its_vectors_in_training_only(kind):
    network = MAKE[kind](AVERAGE)
    params, state = network.init(KEY, X)
    encoder, _, codebook, before = parts(kind, params, state)
    assert codebook is None
    (_, quantized), kept = network.apply(params, state, X, train=False)
    jax.tree.map(np.testing.assert_array_equal, kept, state)
    (_, again), moved = jax.jit(
        lambda params, state: network.apply(params, state, X, train=True, key=KEY)
    )(params, state)
    np.testing.assert_array_equal(again.codes, quantized.codes)
    z = (X.reshape(8, -1) @ encoder).reshape(-1, 1, 2, D)
    expected = codebook_ema.update(before, z, quantized.codes, 0.9)
    for one, other in zip(parts(kind, params, moved)[3], expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", MAKE)
def test_quantizers_without_a_codebook_and_with_levels(kind):
    network = MAKE[kind](finite_scalar_quantizer([3, 5, 2]))
    params, state = network.init(KEY, X)
    assert parts(kind, params, state)[2:] == (None, None)
    (out, quantized), _ = network.apply(params, state, X, train=True)
    assert out.shape == (8, 8) and quantized.codes.shape == (8, 1, 2)
    assert np.all(np.asarray(quantized.codes) < 30)
    network = MAKE[kind](residual_quantizer(K, D, 2))
    params, state = network.init(KEY, X)
    (_, quantized), moved = network.apply(params, state, X, train=True, key=KEY)
    assert quantized.codes.shape == quantized.commitment_loss.shape == (8, 1, 2, 2)
    books = [parts(kind, params, s)[3].codebook for s in (state, moved)]
    assert books[0].shape == (2, K, D)
    assert all(np.any(books[0][level] != books[1][level]) for level in range(2))


@pytest.mark.parametrize("kind", MAKE)
def test_revival_follows_the_key(kind):
    """All codes are far from the data, so that all but one are put on random vectors."""
    network = MAKE[kind](moving_average_quantizer(K, D, threshold=0.05))
    params, state = network.init(KEY, X)
    far = jax.tree.map(lambda leaf: leaf + 100.0 if leaf.shape == (K, D) else leaf, state)
    books = [
        parts(kind, params, network.apply(params, far, X, train=True, key=jax.random.key(k))[1])[3]
        for k in (1, 1, 2)
    ]
    first, again, other = (np.asarray(book.codebook) for book in books)
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    assert np.sum(np.abs(first) < 50) >= (K - 1) * D


def test_a_layer_of_linen_that_trains_a_state_needs_a_key():
    network = MAKE["linen"](AVERAGE)
    params, state = network.init(KEY, X)
    with pytest.raises(ConfigError, match="needs a key of the stream 'dropout'"):
        network.apply(params, state, X, train=True)


def test_layers_that_start_by_kmeans_start_on_what_they_are_given():
    """As many codes as vectors: quantizing them leaves nothing over."""
    z = jax.random.normal(KEY, (7, D))
    quantizer = moving_average_quantizer(7, D, start="kmeans")
    variables = Quantize(quantizer).init(KEY, z)
    quantized = Quantize(quantizer).apply(variables, z)
    np.testing.assert_allclose(quantized.quantized, z, rtol=1e-5)
    layer = NnxQuantize(quantizer, z, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(layer(z).quantized, z, rtol=1e-5)
    one = Quantize(quantizer).apply(variables, z[:1])  # fewer vectors than codes, after the start
    np.testing.assert_allclose(one.quantized, z[:1], rtol=1e-5)
    with pytest.raises(ConfigError, match="needs vectors"):
        NnxQuantize(quantizer, rngs=nnx.Rngs(0))


def test_an_nnx_layer_by_itself_follows_train_and_eval():
    layer = NnxQuantize(AVERAGE, rngs=nnx.Rngs(0))
    z = jax.random.normal(KEY, (7, D))
    before = layer.state.get_value()
    layer.eval()
    quantized = nnx.jit(lambda layer: layer(z))(layer)
    jax.tree.map(np.testing.assert_array_equal, layer.state.get_value(), before)
    layer.train()
    nnx.jit(lambda layer: layer(z))(layer)
    expected = codebook_ema.update(before, z, quantized.codes, 0.9)
    np.testing.assert_allclose(layer.state.get_value().codebook, expected.codebook, rtol=1e-5)


def test_vectors_of_another_width_are_refused():
    with pytest.raises(ConfigError, match=r"z must be \[\*B, 3\]"):
        Quantize(AVERAGE).init(KEY, jnp.zeros((2, 4)))
