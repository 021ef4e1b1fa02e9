"""Networks in bfloat16: gradients against float64, and what stays in float32."""

import re

import backends
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from dgm_jax import models, native, networks, objectives, training
from dgm_jax.core import SOLO, ConfigError
from dgm_jax.networks import in_precision

ELEMENTWISE = ("float32", "bfloat16")
X = np.random.default_rng(0).normal(size=(6, 8, 8, 2))


class Small(nn.Module):
    """Three products, each with something else between."""

    @nn.compact
    def __call__(self, x, train=False):
        x = networks.Conv(6, (3, 3), 2)(x)
        x = jnp.tanh(networks.BatchNorm()(x, train))
        x = jnp.tanh(networks.GroupNorm(2)(networks.ConvTranspose(4)(x)))
        return networks.DenseFromImage(3)(x)


SMALL = networks.from_flax(Small())


def variables(dtype):
    params, state = SMALL.init(jax.random.key(0), jnp.float32(X))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (params, state))


def gradients(network, params, state, x):
    def loss(params):
        y, moved = network.apply(params, state, x, train=True)
        return jnp.mean(jnp.square(y - 1)), moved

    return jax.jit(jax.grad(loss, has_aux=True))(params)


@pytest.fixture(scope="module")
def in_float64():
    with jax.enable_x64(True):
        found = gradients(SMALL, *variables(jnp.float64), jnp.asarray(X))
        return jax.tree.map(np.asarray, found)


def norm(tree):
    return np.sqrt(sum(np.sum(np.square(np.float64(leaf))) for leaf in jax.tree.leaves(tree)))


@pytest.mark.parametrize("elementwise", ELEMENTWISE)
def test_gradients_within_the_rounding_of_each_operation(elementwise, in_float64):
    """Forwards and back there are six products of two operands and a result, rounded by 2^-9 each
    at most; with bfloat16 between them too the sums, normalizations and activations, ten in each
    direction. Some of it shows, or nothing was computed in bfloat16."""
    network = in_precision(SMALL, "bfloat16", elementwise=elementwise)
    found, _ = gradients(network, *variables(jnp.float32), jnp.float32(X))
    roundings = 6 * 3 + (20 if elementwise == "bfloat16" else 0)
    difference = jax.tree.map(lambda a, b: np.float64(a) - b, found, in_float64[0])
    assert 2**-12 < norm(difference) / norm(in_float64[0]) < roundings * 2**-9


@pytest.mark.parametrize("elementwise", ELEMENTWISE)
def test_batch_statistics_are_of_float32(elementwise, in_float64):
    """The running variance is .9 + .1 var; what the convolution rounds, the mean evens out."""
    network = in_precision(SMALL, "bfloat16", elementwise=elementwise)
    _, moved = gradients(network, *variables(jnp.float32), jnp.float32(X))
    for found, right in zip(*map(jax.tree.leaves, (moved, in_float64[1])), strict=True):
        assert found.dtype == jnp.float32
        assert np.any(found != jnp.asarray(found, jnp.bfloat16))
        np.testing.assert_allclose(found, right, atol=1e-3)


@pytest.mark.parametrize("layer", [networks.BatchNorm(), networks.GroupNorm(2)])
def test_a_normalization_of_bfloat16_is_computed_in_float32(layer):
    """A mean of 100 that bfloat16 holds to .25 only: the normalized numbers are exact to 2^-9."""
    x = jnp.asarray(100 + X, jnp.bfloat16)
    options = {"train": True} if isinstance(layer, networks.BatchNorm) else {}
    weights = layer.init(jax.random.key(0), x, **options)
    y, _ = layer.apply(weights, x, **options, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16
    exact = np.asarray(x, np.float64)
    groups, axes = (1, (0, 1, 2)) if options else (2, (1, 2, 4))
    if groups > 1:
        exact = exact.reshape(*exact.shape[:3], groups, -1)
    spread = np.sqrt(exact.var(axes, keepdims=True) + 1e-5)
    exact = ((exact - exact.mean(axes, keepdims=True)) / spread).reshape(x.shape)
    np.testing.assert_allclose(np.float64(y), exact, rtol=2**-8, atol=1e-4)


def test_float32_is_the_network_itself():
    causal = networks.from_transformer(networks.Transformer(5, 4, width=8, num_layers=1))
    for network in (SMALL, causal, networks.from_functions(lambda key, x: {}, lambda p, x: x)):
        assert in_precision(network, "float32") is network
        assert in_precision(network, "float32", elementwise="float32") is network


def test_a_game_keeps_parameters_moments_and_statistics_in_float32():
    """A GAN with batch norm, spectral norm and a gradient penalty, by the types of a step."""
    wrap = lambda module: in_precision(networks.from_flax(module), "bfloat16")
    game = models.gan(
        wrap(networks.Generator((8, 8, 1), features=4)),
        wrap(networks.Discriminator(features=4)),
        objectives.gan.LOSSES["hinge"],
        latent_size=3,
        example_shape=(8, 8, 1),
        penalty=models.Penalty(models.PENALTIES["gradient_penalty"], 1.0),
        spectral=True,
    )
    optimizers = {name: optax.adam(1e-3) for name in game.players}
    algorithm = training.alternating(game.players, optimizers, SOLO)
    batch = {"x": jnp.ones((4, 8, 8, 1)), "z": jnp.ones((4, 3))}
    start = jax.eval_shape(lambda key: algorithm.init(key, *game.init(key)), jax.random.key(0))
    after, info = jax.eval_shape(lambda s: algorithm.step(s, lambda index: batch), start)
    types = lambda tree: jax.tree.map(lambda leaf: leaf.dtype, tree)
    assert types(after) == types(start)
    floating = [d for d in jax.tree.leaves(types((after, info))) if jnp.issubdtype(d, jnp.floating)]
    assert set(floating) == {jnp.dtype(jnp.float32)}


def lowered(network, platform):
    params, state, x = *variables(jnp.float32), jnp.float32(X)
    loss = lambda params: jnp.sum(network.apply(params, state, x, train=True)[0])
    traced = jax.jit(jax.value_and_grad(loss)).trace(params)
    return traced.lower(lowering_platforms=(platform,)).as_text()


def operand_types(text, operation):
    """Types of the first operand of each such operation."""
    lines = [line for line in text.splitlines() if operation in line and ": (tensor<" in line]
    return [re.search(r": \(tensor<[\dx]*x?([a-z]+\d+)>", line)[1] for line in lines]


def test_the_platform_decides_about_sums():
    """Products are of bfloat16 everywhere; other arithmetic only where the platform has it."""
    network = in_precision(SMALL, "bfloat16")
    tpu, cuda, cpu = (lowered(network, platform) for platform in ("tpu", "cuda", "cpu"))
    for text in (tpu, cuda):
        products = operand_types(text, "stablehlo.convolution")
        assert len(products) >= 5 and set(products) == {"bf16"}
        assert re.search(r"stablehlo\.add .*xbf16>", text)
    # What stays in float32 there are sums over positions, which are products with ones.
    own = lowered(SMALL, "cpu")
    products = operand_types(cpu, "stablehlo.dot_general")
    sums = len(re.findall(r"optimization_barrier %\w+ : tensor<\d+xf32>", own))  # of the ones
    assert products.count("f32") == sums and products.count("bf16") >= 3
    assert len(products) == len(operand_types(own, "stablehlo.dot_general"))
    assert not re.search(r"stablehlo\.(add|multiply|tanh) .*bf16>", cpu)
    same = lowered(in_precision(SMALL, "bfloat16", elementwise="float32"), "cpu")
    assert operand_types(same, "dgm_jax_convolution") == operand_types(cpu, "dgm_jax_convolution")


@pytest.mark.skipif(backends.MISSING is not None, reason=str(backends.MISSING))
def test_onednn_gets_bfloat16_where_it_computes_that():
    if not native.onednn.computes(jnp.dtype(jnp.bfloat16)):
        pytest.skip("oneDNN has no convolutions of bfloat16 for this processor")
    with native.use_convolutions("onednn"):
        text = lowered(in_precision(SMALL, "bfloat16"), "cpu")
    calls = operand_types(text, "dgm_jax_convolution")
    # The gradient of an image of few channels is a product for all taps.
    assert len(calls) >= 4 and set(calls) == {"bf16"}


def test_networks_of_nnx_and_of_functions():
    """Statistics move by the mean of what the layer computes; without `train` nothing moves."""

    class Block(nnx.Module):
        def __init__(self, rngs):
            self.dense = nnx.Linear(2, 3, rngs=rngs)
            self.norm = nnx.BatchNorm(3, momentum=0.5, rngs=rngs)

        def __call__(self, x):
            return self.norm(self.dense(x))

    x = jnp.float32(X[:, 0, 0])
    network = networks.from_nnx(lambda rngs: Block(rngs))
    params, state = network.init(jax.random.key(0), x)
    for elementwise in ELEMENTWISE:
        half = in_precision(network, "bfloat16", elementwise=elementwise)
        y, moved = half.apply(params, state, x, train=True)
        assert y.dtype == jnp.float32 and moved["norm.mean"].dtype == jnp.float32
        mean = np.mean(x @ params["dense.kernel"] + params["dense.bias"], 0)
        np.testing.assert_allclose(moved["norm.mean"], 0.5 * mean, atol=2**-8)
        same = half.apply(params, state, x, train=False)[1]
        jax.tree.map(np.testing.assert_array_equal, same, state)
    plain = networks.from_functions(lambda key, x: jnp.ones((2, 1)), lambda w, x: x @ w)
    half = in_precision(plain, "bfloat16")
    odd, _ = half.apply(jnp.ones((1, 1)), {}, jnp.full((1, 1), 257.0), train=True)
    assert float(odd[0, 0]) == 256


def test_a_transformer_with_and_without_its_cache():
    """Both are within the rounding of eight products in two layers of the float32 one."""
    net = networks.from_transformer(
        networks.Transformer(7, 6, width=12, num_layers=2, num_heads=3, init_name="torch")
    )
    half = in_precision(net, "bfloat16")
    params = net.init(jax.random.key(0))
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, 7, (2, 6)), jnp.int32)
    exact = net.logits(params, tokens)
    found = jax.jit(half.logits)(params, tokens)
    cache = half.init_cache(2)

    def body(cache, position):
        token = tokens[:, jnp.maximum(position - 1, 0)]
        return half.step(params, cache, token, position)

    last, steps = jax.lax.scan(body, cache, jnp.arange(6))
    assert jax.tree.map(jnp.shape, last) == jax.tree.map(jnp.shape, cache)
    size = np.abs(exact).max()
    for logits in (found, steps.swapaxes(0, 1)):
        assert logits.dtype == jnp.float32
        error = np.abs(logits - exact).max() / size
        assert 2**-12 < error < 2 * 8 * 3 * 2**-9


def test_what_is_no_precision_and_no_network_is_refused():
    with pytest.raises(ConfigError, match="float16"):
        in_precision(SMALL, "float16")
    with pytest.raises(ConfigError, match="bfloat61.*bfloat16"):
        in_precision(SMALL, "bfloat16", elementwise="bfloat61")
    with pytest.raises(ConfigError, match="takes a Network or a CausalNetwork"):
        in_precision(Small(), "bfloat16")
    for network in (SMALL, networks.from_transformer(networks.Transformer(5, 4, width=8))):
        precision = "float32" if network is SMALL else "bfloat16"
        with pytest.raises(ConfigError, match="is for a Network in bfloat16; got a"):
            in_precision(network, precision, elementwise="bfloat16")
