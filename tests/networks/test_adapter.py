"""Modules of linen and NNX and plain functions as networks: values against the module's own, batch
statistics, dropout."""

import os
import pathlib
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dgm_jax import networks
from dgm_jax.core import ConfigError, Network

X = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)


class LinenBlock(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(nn.Dense(4)(x))
        return nn.Dropout(0.5, deterministic=not train)(x)


class LinenDropout(nn.Module):
    @nn.compact
    def __call__(self, x, deterministic=True):
        return nn.Dropout(0.5)(x, deterministic=deterministic)


class Block(nnx.Module):
    def __init__(self, rngs):
        self.dense = nnx.Linear(3, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.dropout(self.norm(self.dense(x)))


NETWORKS = {
    "linen": networks.from_flax(LinenBlock()),
    "nnx": networks.from_nnx(lambda rngs: Block(rngs)),
}


def parts(name, params, state):
    """(kernel, bias, running mean) whatever the module calls them."""
    if name == "linen":
        dense = params["Dense_0"]
        return dense["kernel"], dense["bias"], state["batch_stats"]["BatchNorm_0"]["mean"]
    return params["dense.kernel"], params["dense.bias"], state["norm.mean"]


def applied(network: Network, params, state, **options):
    names = [name for name in options if name != "key"]
    apply = jax.jit(network.apply, static_argnames=names)
    return apply(params, state, X, **options)


@pytest.mark.parametrize("name", NETWORKS)
def test_batch_statistics_move_in_training_and_act_in_inference(name):
    network = NETWORKS[name]
    params, state = jax.jit(network.init)(jax.random.key(0), X)
    kernel, bias, before = parts(name, params, state)
    np.testing.assert_array_equal(before, np.zeros(4))
    _, moved = applied(network, params, state, train=True, key=jax.random.key(1))
    hidden = np.asarray(X @ kernel + bias, np.float64)
    _, _, mean = parts(name, params, moved)
    np.testing.assert_allclose(mean, 0.1 * hidden.mean(0), atol=1e-6)
    shown, kept = applied(network, params, moved, train=False)
    variance = 0.9 + 0.1 * hidden.var(0)
    expected = (hidden - 0.1 * hidden.mean(0)) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(shown, expected, atol=1e-4)
    jax.tree.map(np.testing.assert_array_equal, kept, moved)


@pytest.mark.parametrize("name", NETWORKS)
def test_dropout_follows_the_key_and_keeps_the_mean(name):
    """Each output is either 0 or twice what it is without dropout."""
    network = NETWORKS[name]
    params, state = network.init(jax.random.key(0), X)
    kernel, bias, _ = parts(name, params, state)
    hidden = np.asarray(X @ kernel + bias, np.float64)
    whole = (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + 1e-5)
    first, again, other = (
        np.asarray(applied(network, params, state, train=True, key=jax.random.key(seed))[0])
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any((first == 0) != (other == 0))
    np.testing.assert_allclose(first, np.where(first == 0, 0, 2 * whole), atol=1e-3)
    share = np.mean(first == 0)  # of 256 fair coins
    assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(first.size)


def test_a_module_with_deterministic_drops_out_only_with_a_key():
    network = networks.from_flax(LinenDropout())
    params, state = network.init(jax.random.key(0), X)
    np.testing.assert_array_equal(network.apply(params, state, X, train=True)[0], X)
    key = jax.random.key(1)
    np.testing.assert_array_equal(network.apply(params, state, X, train=False, key=key)[0], X)
    assert np.any(np.asarray(network.apply(params, state, X, train=True, key=key)[0]) == 0)


def test_nnx_without_a_key_drops_nothing():
    network = NETWORKS["nnx"]
    params, state = network.init(jax.random.key(0), X)
    assert np.all(np.asarray(applied(network, params, state, train=True)[0]) != 0)


def test_nnx_values_are_the_modules_own():
    module = Block(nnx.Rngs(jax.random.key(0)))
    module.eval()
    params, state = NETWORKS["nnx"].init(jax.random.key(0), X)
    got = NETWORKS["nnx"].apply(params, state, X, train=False)[0]
    np.testing.assert_allclose(got, module(jnp.asarray(X)), rtol=1e-6)


def test_nnx_modules_run_under_vmap_and_grad():
    """Three seeds at once equal each alone; the gradient of a linear layer is its closed form."""
    network = networks.from_nnx(lambda rngs: nnx.Linear(3, 2, rngs=rngs))
    keys = jax.random.split(jax.random.key(3), 3)
    run = lambda key: network.apply(*network.init(key, X), X, train=False)[0]
    together = jax.vmap(run)(keys)
    np.testing.assert_allclose(together, [run(key) for key in keys], rtol=1e-5, atol=1e-6)
    params, state = network.init(keys[0], X)
    gradient = jax.grad(lambda p: jnp.sum(network.apply(p, state, X, train=True)[0]))(params)
    expected = np.repeat(X.sum(0)[:, None], 2, axis=1)
    np.testing.assert_allclose(gradient["kernel"], expected, rtol=1e-5)
    np.testing.assert_allclose(gradient["bias"], [64.0, 64.0])


def test_parameters_of_another_module_are_refused_by_name():
    network = networks.from_nnx(lambda rngs: nnx.Linear(3, 2, rngs=rngs))
    with pytest.raises(ConfigError, match=r"variables \['bias', 'kernel'\], got .*\['weights'\]"):
        network.apply({"weights": jnp.zeros((3, 2))}, {}, X, train=False)


def test_plain_functions_and_reshaped_pass_the_new_arguments_on():
    seen = {}

    def apply(params, state, x, /, *, train, key=None):
        seen.update(train=train, key=key, shape=x.shape)
        return jnp.zeros((x.shape[0], 6)), state

    inner = Network(lambda key, x, /: ({}, {}), apply)
    key = jax.random.key(0)
    images = networks.reshaped(inner, (2, 3, 1))
    out, _ = images.apply({}, {}, np.zeros((5, 4, 4, 1)), train=True, key=key)
    assert out.shape == (5, 2, 3, 1) and seen == {"train": True, "key": key, "shape": (5, 16)}
    plain = networks.from_functions(lambda key, x: {"w": jnp.ones(3)}, lambda p, x: x @ p["w"])
    got, state = plain.apply(*plain.init(key, X), X, train=True, key=key)
    np.testing.assert_allclose(got, X.sum(1), atol=1e-5)
    assert state == {}


def test_nnx_is_imported_on_first_use_and_not_before():
    """But where flax itself imports it."""
    code = """
import sys
import flax.linen
before = "flax.nnx" in sys.modules
import dgm_jax.models
from dgm_jax import networks
between = "flax.nnx" in sys.modules
networks.from_nnx
print(before, between, "flax.nnx" in sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[2])}
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    before, between, after = ended.stdout.split()
    assert between == before and after == "True"
