"""Perceptrons against numpy, published parameter counts, and the laws of the initialisations."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dgm_jax import core, networks
from dgm_jax.networks.layers.dense import by_rows


def leaves64(params):
    return jax.tree.map(lambda p: np.asarray(p, np.float64), params)


def test_mlp_is_its_formula():
    network = networks.from_flax(networks.MLP((5, 4, 2)))
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    params, state = network.init(jax.random.key(0), x)
    assert state == {}
    p, h = leaves64(params), x
    for layer in range(3):
        h = h @ p[f"Dense_{layer}"]["kernel"] + p[f"Dense_{layer}"]["bias"]
        h = np.where(h > 0, h, 0.2 * h) if layer < 2 else h
    np.testing.assert_allclose(jax.jit(network.apply)(params, state, x)[0], h, atol=1e-5)
    y = network.apply(params, state, x.reshape(7, 1, 3))[0]
    np.testing.assert_allclose(y[:, 0], h, atol=1e-5)


@pytest.mark.parametrize("batch", [(), (2,), (2, 4), (2, 0), (0, 4, 5)])
def test_a_layer_by_rows_is_the_layer(batch):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(*batch, 3)), rng.normal(size=(3, 6))
    y = by_rows(lambda rows: rows @ kernel, x)
    np.testing.assert_allclose(y, np.einsum("...d,df->...f", x, kernel), rtol=1e-4, atol=1e-6)


def test_on_cpu_the_gradient_of_a_bias_sums_rows():
    x = np.random.default_rng(0).normal(size=(8, 64, 24)).astype(np.float32)
    bias = jnp.ones(24)
    cubed = lambda bias: jnp.sum(by_rows(lambda rows: rows + bias, x) ** 3)
    text = jax.jit(jax.grad(cubed)).lower(bias).compile().as_text()
    shapes = re.findall(r"= f32\[([\d,]*)\]\S* reduce", text)
    assert shapes and all(shape.count(",") <= 1 for shape in shapes)
    over_axes = lambda bias: jnp.sum((x + bias) ** 3)
    text = jax.jit(jax.grad(over_axes)).lower(bias).compile().as_text()
    assert any(shape.count(",") == 2 for shape in re.findall(r"= f32\[([\d,]*)\]\S* reduce", text))


def test_maxout_is_its_formula():
    module = networks.MLP((4, 1), init_name="normal_0.02", gain=50.0, maxout_pieces=3, squeeze=True)
    x = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    params = module.init(jax.random.key(1), x)["params"]
    p = leaves64(params)
    hidden = (x @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"]).reshape(6, 4, 3).max(-1)
    expected = hidden @ p["Dense_1"]["kernel"][:, 0]
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(module.apply({"params": params}, x), expected, atol=1e-5)


@pytest.mark.parametrize(
    "module,inputs,count",
    [
        # PacGAN's G
        (networks.MLP((400,) * 4 + (2,), "relu", "normal_0.02", normalization="batch"), 2, 484_802),
        # unrolled GAN's notebook, G
        (networks.MLP((128, 128, 2), "tanh", "orthogonal", 1.4), 256, 49_666),
        # D of the same size
        (networks.MLP((128, 128, 1), "leaky_relu", "torch", squeeze=True), 2, 17_025),
    ],
)
def test_published_parameter_counts(module, inputs, count):
    shapes = jax.eval_shape(lambda k: module.init(k, jnp.zeros((1, inputs))), jax.random.key(0))
    assert core.tree_size(shapes["params"]) == count


def test_pacgan_discriminator_has_about_405_thousand_parameters():
    module = networks.MLP((200,) * 3 + (1,), init_name="normal_0.02", maxout_pieces=5, squeeze=True)
    params = module.init(jax.random.key(0), jnp.zeros((1, 2)))["params"]
    assert core.tree_size(params) == 3 * 1000 + 2 * 201 * 1000 + 201


@pytest.mark.parametrize("scale,name", [(1 / np.sqrt(50), "kernel"), (1 / np.sqrt(50), "bias")])
def test_torch_initialisation_is_uniform(scale, name):
    p = networks.Dense(4000, init_name="torch").init(jax.random.key(0), jnp.zeros((1, 50)))[
        "params"
    ][name]
    draws = np.asarray(p).ravel()[:20000]
    assert stats.kstest(draws, stats.uniform(-scale, 2 * scale).cdf).pvalue > 1e-3
    assert np.abs(draws).max() <= scale


@pytest.mark.parametrize(
    "name,gain,sd",
    [
        ("he", 1.0, np.sqrt(2 / 45)),
        ("normal_0.02", 1.0, 0.02),
        ("glorot", 1.0, np.sqrt(2 / (45 + 9 * 64))),
        ("he", 0.5, 0.5 * np.sqrt(2 / 45)),
        ("torch", 1.0, np.sqrt(1 / 3 / 45)),
    ],
)
def test_standard_deviation_of_an_initialisation(name, gain, sd):
    draws = np.asarray(networks.initializers.weights(name, gain)(jax.random.key(3), (3, 3, 5, 64)))
    assert abs(draws.std() / sd - 1) < 5 / np.sqrt(2 * draws.size) and abs(
        draws.mean()
    ) < 5 * sd / np.sqrt(draws.size)


@pytest.mark.parametrize("shape", [(40, 12), (12, 40), (3, 3, 4, 8), (2, 2, 2, 30)])
def test_orthogonal_initialisation(shape):
    w = np.asarray(networks.initializers.weights("orthogonal", 0.8)(jax.random.key(0), shape))
    matrix = w.reshape(-1, shape[-1])
    np.testing.assert_allclose(np.linalg.svd(matrix, compute_uv=False), 0.8, atol=1e-5)


def test_initialisation_is_the_same_under_seeds():
    module = networks.MLP((8, 8, 2), init_name="orthogonal")
    keys = jax.random.split(jax.random.key(0), 3)
    init = lambda k: module.init(k, jnp.zeros((1, 2)))
    many, one = jax.jit(jax.vmap(init))(keys), jax.jit(init)(keys[1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, atol=1e-6), many, one)


@pytest.mark.parametrize(
    "build,words",
    [
        (lambda: networks.MLP((2,), activation="leaky"), "leaky_relu"),
        (lambda: networks.MLP((2,), init_name="ortho"), "orthogonal"),
        (lambda: networks.MLP(()), "at least one width"),
        (lambda: networks.MLP((4, 2), squeeze=True), "one output"),
    ],
)
def test_errors(build, words):
    with pytest.raises(core.ConfigError, match=words):
        build().init(jax.random.key(0), jnp.zeros((1, 2)))
