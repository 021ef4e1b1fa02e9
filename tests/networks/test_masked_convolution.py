"""The gated PixelCNN sees exactly the codes before a position: no leak and no blind spot."""

import functools

import backends
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import ConfigError, DataError
from dgm_jax.networks.pixel_cnn import GatedPixelCNN, from_pixel_cnn

CODES = 4


@functools.cache
def network(grid=(4, 4), backend=None, num_layers=3, kernel_size=3):
    module = GatedPixelCNN(CODES, 6, num_layers, kernel_size, hidden=8, backend=backend)
    net = from_pixel_cnn(module, grid)
    return module, net, jax.jit(net.init)(jax.random.key(0))


def influence(net, params):
    """[j, t]: does another code at place j change the logits at t? Over several sequences and all
    codes."""
    places = jnp.arange(net.length)

    def moved(tokens):
        same = jnp.tile(tokens, (net.length, 1))  # as many rows: products round by their number

        def one(shift):
            changed = same.at[places, places].set((tokens + shift) % CODES)
            return jnp.abs(net.logits(params, changed) - net.logits(params, same)).max(-1)

        return jax.lax.map(one, jnp.arange(1, CODES)).max(0)

    sequences = np.random.default_rng(0).integers(0, CODES, (3, net.length))
    return (
        np.max(jax.jit(lambda x: jax.lax.map(moved, x))(jnp.asarray(sequences, jnp.int32)), axis=0)
        > 0
    )


@pytest.mark.parametrize("backend", backends.ALL)
def test_every_earlier_code_is_seen_and_no_later_one(backend):
    _, net, params = network(backend=backend)
    seen = influence(net, params)
    earlier = np.arange(16)[:, None] < np.arange(16)[None, :]
    assert not np.any(seen & ~earlier), "a leak"
    assert np.all(seen[earlier]), "a blind spot"


@pytest.mark.parametrize("num_layers, kernel_size", [(2, 3), (1, 5)])
def test_the_field_of_few_layers_is_the_documented_one(num_layers, kernel_size):
    height, width = 6, 7
    _, net, params = network((height, width), "lax", num_layers, kernel_size)
    seen = influence(net, params).reshape(height, width, height, width)
    reach = num_layers * (kernel_size // 2)
    i, j, y, x = np.ogrid[:height, :width, :height, :width]
    above = (i < y) & (i >= y - reach - 1) & (np.abs(j - x) <= reach)
    left = (i == y) & (j < x) & (j >= x - reach - 1)
    np.testing.assert_array_equal(seen, above | left)


@pytest.mark.parametrize("backend", backends.CPU)
def test_every_backend_computes_the_same(backend):
    (_, a, params), (_, b, _) = network(backend=backend), network(backend="lax")
    tokens = jnp.asarray(np.random.default_rng(1).integers(0, CODES, (3, 16)), jnp.int32)

    def value_and_grad(net):
        return jax.jit(jax.value_and_grad(lambda p: jnp.sum(jnp.sin(net.logits(p, tokens)))))(
            params
        )

    (value_a, grad_a), (value_b, grad_b) = value_and_grad(a), value_and_grad(b)
    np.testing.assert_allclose(value_a, value_b, rtol=1e-4)
    for x, y in zip(jax.tree.leaves(grad_a), jax.tree.leaves(grad_b), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-3, rtol=1e-3)


def test_logits_of_a_grid_are_those_of_its_sequence():
    module, net, params = network(backend="lax")
    tokens = jnp.asarray(np.random.default_rng(2).integers(0, CODES, (2, 16)), jnp.int32)
    logits = jax.jit(module.apply)({"params": params}, tokens.reshape(2, 4, 4))
    assert logits.shape == (2, 4, 4, CODES) and logits.dtype == jnp.float32
    np.testing.assert_allclose(
        jax.jit(net.logits)(params, tokens), logits.reshape(2, 16, CODES), atol=1e-6
    )
    assert net.step is None and net.length == 16


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="kernel_size must be odd"):
        from_pixel_cnn(GatedPixelCNN(CODES, kernel_size=4), (2, 2))
    with pytest.raises(ConfigError, match="width must be at least 1"):
        from_pixel_cnn(GatedPixelCNN(CODES, width=0), (2, 2))
    with pytest.raises(ConfigError, match="grid must be"):
        from_pixel_cnn(GatedPixelCNN(CODES), (0, 2))
    module, net, params = network(backend="lax")
    with pytest.raises(DataError, match=r"tokens must be \[B, 16\]"):
        net.logits(params, jnp.zeros((2, 15), jnp.int32))
    with pytest.raises(DataError, match="ids in 0..3"):
        net.logits(params, jnp.full((2, 16), CODES))
    with pytest.raises(DataError, match=r"integers \[B, H, W\]"):
        module.apply({"params": params}, jnp.zeros((2, 4, 4)))
