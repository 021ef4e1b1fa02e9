"""The image networks: shapes, equal backends, statistics, and the adapter to pure functions."""

import backends
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import core, networks

SHAPES = [(28, 28, 1), (32, 32, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ours", backends.CPU)
def test_generator_is_the_same_on_every_backend(ours, shape):
    z = np.random.default_rng(0).normal(size=(5, 10)).astype(np.float32)
    outputs, states = {}, {}
    for backend in (ours, "lax"):
        network = networks.from_flax(
            networks.Generator(shape, features=8, init_name="he", backend=backend)
        )
        params, state = jax.jit(network.init)(jax.random.key(0), z)
        apply = jax.jit(network.apply, static_argnames="train")
        outputs[backend], states[backend] = apply(params, state, z, train=True)
        frozen, same = apply(params, state, z, train=False)
        jax.tree.map(np.testing.assert_array_equal, same, state)
    assert outputs[ours].shape == (5, *shape) == frozen.shape
    assert np.abs(outputs[ours]).max() <= 1 and np.std(outputs[ours]) > 0.1
    np.testing.assert_allclose(outputs[ours], outputs["lax"], atol=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), states[ours], states["lax"]
    )
    assert np.abs(np.asarray(states["lax"]["batch_stats"]["BatchNorm_0"]["mean"])).max() > 1e-3


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("normalization", ["none", "batch", "group_4"])
@pytest.mark.parametrize("name", backends.CPU)
def test_discriminator_and_its_gradients_are_the_same_on_every_backend(name, shape, normalization):
    x = np.random.default_rng(0).normal(size=(5, *shape)).astype(np.float32)

    def gradients(backend):
        module = networks.Discriminator(
            features=8, normalization=normalization, init_name="he", backend=backend
        )
        network = networks.from_flax(module)
        params, state = jax.jit(network.init)(jax.random.key(0), x)
        assert (state == {}) != (normalization == "batch")

        def loss(params, x):
            logits, _ = network.apply(params, state, x, train=True)
            assert logits.shape == (5,)
            return jnp.mean(jax.nn.softplus(logits))

        return jax.jit(jax.grad(loss, (0, 1)))(params, x)

    ours, theirs = gradients(name), gradients("lax")

    def close(a, b):
        np.testing.assert_allclose(a, b, atol=2e-4 * max(np.abs(b).max(), 1e-3))

    jax.tree.map(close, ours, theirs)
    assert np.abs(theirs[1]).max() > 0


@pytest.mark.parametrize("normalization", ["none", "layer", "group_8"])
def test_discriminator_without_batch_norm_sees_each_image_alone(normalization):
    x = np.random.default_rng(0).normal(size=(4, 28, 28, 1)).astype(np.float32)
    network = networks.from_flax(networks.Discriminator(features=8, normalization=normalization))
    params, state = jax.jit(network.init)(jax.random.key(0), x)
    apply = jax.jit(lambda x: network.apply(params, state, x, train=True)[0])
    whole, single = apply(x), apply(x[2:3])
    np.testing.assert_allclose(whole[2:3], single, rtol=1e-4, atol=1e-7)


def test_group_norm_takes_the_place_of_batch_norm_in_the_generator():
    """The same layers with one more kind of parameter name, no state, and each image alone."""
    z = np.random.default_rng(0).normal(size=(5, 10)).astype(np.float32)
    network = networks.from_flax(
        networks.Generator((28, 28, 1), features=8, init_name="he", normalization="group_4")
    )
    params, state = jax.jit(network.init)(jax.random.key(0), z)
    assert state == {} and {"GroupNorm_0", "GroupNorm_1"} <= set(params)
    assert "bias" not in params["ConvTranspose_0"] and "bias" in params["ConvTranspose_1"]
    apply = jax.jit(lambda z: network.apply(params, state, z, train=True)[0])
    np.testing.assert_allclose(apply(z)[2:3], apply(z[2:3]), rtol=1e-4, atol=1e-6)


def test_sizes_that_do_not_halve_are_refused():
    with pytest.raises(core.ConfigError, match="divisible by 4"):
        networks.Generator((30, 28, 1)).init(jax.random.key(0), jnp.zeros((1, 3)))
    with pytest.raises(core.ConfigError, match="divisible by 8"):
        networks.Discriminator(levels=3).init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))


def test_generator_has_three_levels_at_64():
    shapes = jax.eval_shape(
        lambda k: networks.Generator((64, 64, 3), levels=3).init_with_output(
            k, jnp.zeros((2, 100))
        )[0],
        jax.random.key(0),
    )
    assert shapes.shape == (2, 64, 64, 3)


@pytest.mark.parametrize("backend", backends.ALL)
def test_classifier_gives_features_and_logits(backend):
    x = np.random.default_rng(0).normal(size=(3, 28, 28, 1)).astype(np.float32)
    network = networks.from_flax(networks.Classifier(num_classes=7, backend=backend))
    params, state = jax.jit(network.init)(jax.random.key(0), x)
    (features, logits), _ = jax.jit(network.apply)(params, state, x)
    assert features.shape == (3, 128) and logits.shape == (3, 7) and state == {}
    head = params["Dense_0"]
    np.testing.assert_allclose(logits, features @ head["kernel"] + head["bias"], atol=1e-5)
    assert np.min(features) >= 0 and np.std(features) > 0


def test_from_functions_carries_no_state():
    network = networks.from_functions(
        lambda key, x: {"w": jnp.ones(x.shape[-1])}, lambda p, x: x @ p["w"]
    )
    params, state = network.init(jax.random.key(0), jnp.zeros((2, 3)))
    y, state = network.apply(params, state, jnp.ones((2, 3)), train=True)
    np.testing.assert_array_equal(y, [3, 3])
    assert state == {}


def test_state_moves_only_in_training():
    network = networks.from_flax(networks.BatchNorm())
    x = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    params, state = network.init(jax.random.key(0), x)
    _, trained = network.apply(params, state, x, train=True)
    _, frozen = network.apply(params, trained, x, train=False)
    assert np.abs(np.asarray(trained["batch_stats"]["mean"])).max() > 0
    jax.tree.map(np.testing.assert_array_equal, trained, frozen)


def test_from_flax_passes_keywords_to_every_call():
    class Scaled(nn.Module):
        @nn.compact
        def __call__(self, x, factor, train=False):
            return nn.Dense(2)(x) * factor * (2.0 if train else 1.0)

    network = networks.from_flax(Scaled(), factor=3.0)
    params, state = network.init(jax.random.key(0), jnp.ones((1, 4)))
    expected = 3 * np.asarray(params["Dense_0"]["kernel"]).sum(0, keepdims=True)
    np.testing.assert_allclose(
        network.apply(params, state, jnp.ones((1, 4)), train=False)[0], expected, rtol=1e-5
    )
    np.testing.assert_allclose(
        network.apply(params, state, jnp.ones((1, 4)), train=True)[0], 2 * expected, rtol=1e-5
    )
