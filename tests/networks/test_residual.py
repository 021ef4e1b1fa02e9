"""Encoder and decoder of VQ-VAE: the same with every convolution backend, and the shapes of the
paper."""

import backends
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import ConfigError, tree_size
from dgm_jax.networks import ResidualBlock, ResidualDecoder, ResidualEncoder

X = jax.random.normal(jax.random.key(0), (3, 8, 12, 2))


@pytest.mark.parametrize(
    "module, shape", [(ResidualEncoder, (3, 2, 3, 5)), (ResidualDecoder, (3, 32, 48, 5))]
)
@pytest.mark.parametrize("backend", backends.CPU)
def test_backends_agree(backend, module, shape):
    ours, lax = (module(5, width=6, residual_width=4, backend=name) for name in (backend, "lax"))
    params = ours.init(jax.random.key(1), X)
    found, expected = ours.apply(params, X), lax.apply(params, X)
    assert found.shape == shape
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_number_of_parameters():
    """Sonnet's VQ-VAE for 32x32x3 (hidden 128, blocks 2 x 32, D = 64), summed layer by layer."""
    conv = lambda size, inputs, outputs: size * size * inputs * outputs + outputs
    blocks = 2 * (conv(3, 128, 32) + conv(1, 32, 128))
    encoder = conv(4, 3, 64) + conv(4, 64, 128) + conv(3, 128, 128) + blocks + conv(1, 128, 64)
    decoder = conv(3, 64, 128) + blocks + conv(4, 128, 64) + conv(4, 64, 3)
    for module, example, expected in (
        (ResidualEncoder(64), (2, 32, 32, 3), encoder),
        (ResidualDecoder(3), (2, 8, 8, 64), decoder),
    ):
        params = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(example))
        assert tree_size(params) == expected


def test_a_block_adds_to_its_input():
    block = ResidualBlock(4, backend="lax")
    params = block.init(jax.random.key(0), X)
    nothing = jax.tree.map(jnp.zeros_like, params)
    np.testing.assert_array_equal(block.apply(nothing, X), X)
    assert np.abs(block.apply(params, X) - X).max() > 0.01


def test_a_size_that_cannot_be_halved_twice():
    with pytest.raises(ConfigError, match=r"divisible by 4, got \(6, 8\)"):
        ResidualEncoder(5).init(jax.random.key(0), jnp.zeros((2, 6, 8, 1)))


@pytest.mark.parametrize("make", [ResidualEncoder, ResidualDecoder])
def test_rematerialization_changes_no_parameter_and_no_gradient(make):
    plain, remat = (make(5, width=6, residual_width=4, backend="lax", remat=r) for r in (0, 1))
    params = plain.init(jax.random.key(1), X)
    for ours, theirs in zip(
        jax.tree_util.tree_leaves_with_path(remat.init(jax.random.key(1), X)),
        jax.tree_util.tree_leaves_with_path(params),
        strict=True,
    ):
        assert ours[0] == theirs[0]
        np.testing.assert_array_equal(ours[1], theirs[1])
    of = lambda module: jax.jit(jax.grad(lambda p: jnp.sum(jnp.sin(module.apply(p, X)))))(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), of(remat), of(plain))
