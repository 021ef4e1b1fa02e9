"""Normalisations against their formulas in numpy, and against flax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import core, networks


@pytest.mark.parametrize("shape", [(6, 5), (3, 4, 4, 5)])
def test_batch_norm_is_its_formula(shape):
    random = np.random.default_rng(0)
    x = (3 + 2 * random.normal(size=shape)).astype(np.float32)
    network = networks.from_flax(networks.BatchNorm(momentum=0.8))
    params, state = network.init(jax.random.key(0), x)
    params = {"scale": jnp.linspace(0.5, 2, 5), "bias": jnp.arange(5.0)}
    np.testing.assert_array_equal(state["batch_stats"]["mean"], 0)
    y, new = jax.jit(lambda p, s, x: network.apply(p, s, x, train=True))(params, state, x)
    moved = np.float64(x)
    flat = moved.reshape(-1, 5)
    mean, var = flat.mean(0), flat.var(0)
    expected = (moved - mean) / np.sqrt(var + 1e-5) * np.asarray(params["scale"]) + np.asarray(
        params["bias"]
    )
    np.testing.assert_allclose(y, expected, atol=1e-5)
    np.testing.assert_allclose(new["batch_stats"]["mean"], 0.2 * mean, rtol=1e-5)
    np.testing.assert_allclose(new["batch_stats"]["var"], 0.8 + 0.2 * var, rtol=1e-5)
    y, same = network.apply(params, new, x, train=False)
    mean, var = (np.float64(new["batch_stats"][n]) for n in ("mean", "var"))
    expected = (moved - mean) / np.sqrt(var + 1e-5) * np.asarray(params["scale"]) + np.asarray(
        params["bias"]
    )
    np.testing.assert_allclose(y, expected, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, same, new)


def test_batch_norm_gradient_sees_the_statistics():
    """With scale 1 the normalised batch has a fixed mean and square, so its gradient kills both
    directions."""
    x = np.random.default_rng(1).normal(size=(4, 3, 3, 6)).astype(np.float32)
    norm = networks.BatchNorm()
    variables = norm.init(jax.random.key(0), x)

    def loss(x):
        return jnp.sum(jnp.sin(norm.apply(variables, x, True, mutable=["batch_stats"])[0]))

    gradient = np.float64(jax.grad(loss)(x))
    assert np.abs(gradient).max() > 1e-2
    np.testing.assert_allclose(gradient.sum((0, 1, 2)), 0, atol=1e-4)
    direction = np.random.default_rng(2).normal(size=x.shape).astype(np.float32)
    with jax.enable_x64(True):
        x64, h = np.float64(x), 1e-5
        slope = (loss(x64 + h * direction) - loss(x64 - h * direction)) / (2 * h)
    np.testing.assert_allclose(np.vdot(gradient, direction), slope, rtol=2e-3)


def test_batch_norm_variance_survives_a_large_mean():
    x = np.random.default_rng(0).normal(size=(4000, 2)).astype(np.float32) * 1e-2 + 300
    norm = networks.BatchNorm(epsilon=0.0)
    y, _ = norm.apply(norm.init(jax.random.key(0), x), x, True, mutable=["batch_stats"])
    # E[x^2] - E[x]^2 in float32 would be noise
    np.testing.assert_allclose(np.std(y, 0), 1, atol=1e-2)


def test_variables_exchange_with_flax():
    x = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    theirs = nn.BatchNorm(use_running_average=False, momentum=0.9)
    variables = theirs.init(jax.random.key(0), x)
    expected, expected_state = theirs.apply(variables, x, mutable=["batch_stats"])
    y, state = networks.BatchNorm().apply(variables, x, True, mutable=["batch_stats"])
    np.testing.assert_allclose(y, expected, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state, expected_state)


@pytest.mark.parametrize("num_groups", [1, 2, 6])
def test_group_norm_is_its_formula(num_groups):
    x = (1 + np.random.default_rng(0).normal(size=(3, 4, 5, 6))).astype(np.float32)
    norm = networks.GroupNorm(num_groups)
    params = {"scale": jnp.linspace(0.5, 2, 6), "bias": jnp.arange(6.0)}
    y = norm.apply({"params": params}, x)
    grouped = np.float64(x).reshape(3, 4, 5, num_groups, -1)
    mean, var = grouped.mean((1, 2, 4), keepdims=True), grouped.var((1, 2, 4), keepdims=True)
    normal = ((grouped - mean) / np.sqrt(var + 1e-5)).reshape(x.shape)
    np.testing.assert_allclose(
        y, normal * np.asarray(params["scale"]) + np.asarray(params["bias"]), atol=1e-4
    )


def test_group_norm_needs_whole_groups():
    with pytest.raises(core.ConfigError, match="divisible by num_groups=4"):
        networks.GroupNorm(4).init(jax.random.key(0), jnp.zeros((2, 4, 4, 6)))


def test_group_norm_refuses_groups_of_one_number():
    """Such a number would be its own mean, so the output would be the bias whatever the input."""
    with pytest.raises(core.ConfigError, match="more than one number in each of num_groups=6"):
        networks.GroupNorm(6).init(jax.random.key(0), jnp.zeros((2, 6)))
    with pytest.raises(core.ConfigError, match=r"got examples of shape \(6,\)"):
        networks.MLP((6, 1), normalization="group_6").init(jax.random.key(0), jnp.zeros((2, 3)))


@pytest.mark.parametrize("name, groups", [("batch", None), ("layer", 1), ("group_16", 16)])
def test_a_name_says_the_groups(name, groups):
    assert networks.num_groups(name) == groups
    networks.require_normalization(name)


@pytest.mark.parametrize(
    "name", ["", "groups", "group", "group_", "group_0", "group_-2", "batch_8"]
)
def test_other_names_of_normalisations_are_refused(name):
    with pytest.raises(core.ConfigError, match=f"such as 'group_8'; got '{name}'"):
        networks.require_normalization(name)


def test_an_mlp_normalises_each_vector_by_its_groups():
    """Against the formula in numpy, on rows with two leading axes."""
    x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    mlp = networks.MLP((6, 2), "relu", normalization="group_2")
    params = mlp.init(jax.random.key(0), x)["params"]
    hidden = np.float64(x) @ np.float64(params["Dense_0"]["kernel"])
    groups = hidden.reshape(3, 4, 2, 3)
    groups = groups - groups.mean(-1, keepdims=True)
    groups = groups / np.sqrt(np.square(groups).mean(-1, keepdims=True) + 1e-5)
    expected = np.maximum(groups.reshape(3, 4, 6), 0) @ np.float64(params["Dense_1"]["kernel"])
    expected = expected + np.asarray(params["Dense_1"]["bias"])
    np.testing.assert_allclose(mlp.apply({"params": params}, x), expected, atol=1e-4)
