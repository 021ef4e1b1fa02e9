"""Quantizers of the library and one of one's own, given to `models.vqvae`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sign_quantizer

from dgm_jax import networks, quantization, training
from dgm_jax.models import VqVae, vqvae, vqvae_codes, vqvae_encode, vqvae_uniform_log_prior

SHAPE, GRID = (4, 4, 1), (2, 2)
QUANTIZERS = {
    "finite_scalar": quantization.finite_scalar_quantizer((4, 3)),
    "residual": quantization.residual_quantizer(6, 3, 2),
    "sign": sign_quantizer.sign_quantizer(3),
}


def stripes(num: int) -> np.ndarray:
    """Images [num, 4, 4, 1] of four grey columns in [-1, 1]."""
    columns = np.random.default_rng(0).uniform(-1, 1, (num, 1, 4, 1))
    return np.broadcast_to(columns, (num, *SHAPE)).astype(np.float32)


def recipe_of(quantizer) -> VqVae:
    def image_to_grid(size):
        return networks.reshaped(networks.from_flax(networks.MLP((32, 4 * size))), (*GRID, size))

    decoder = networks.reshaped(networks.from_flax(networks.MLP((32, 32))), (*SHAPE[:2], 2))
    return VqVae(image_to_grid(quantizer.width), decoder, GRID, quantizer)


def trained(recipe, num_steps):
    model = vqvae(recipe, SHAPE)
    algorithm = training.alternating(model.players, {"autoencoder": optax.adam(3e-3)})
    x = jnp.asarray(stripes(256))
    start = algorithm.init(jax.random.key(0), *model.init(jax.random.key(1)))

    @jax.jit
    def run(now):
        step = lambda now, _: algorithm.step(now, lambda index: {"x": x})
        return jax.lax.scan(step, now, length=num_steps)

    moved, info = run(start)
    return x, start, moved, info.metrics["autoencoder"]


@pytest.mark.parametrize("name", QUANTIZERS)
def test_it_trains_and_says_how_its_codes_are_used(name):
    """The likelihood rises by nats, codes come back to the values they stand for, and perplexity by
    level is exp of the entropy of numpy's counts."""
    quantizer = QUANTIZERS[name]
    recipe = recipe_of(quantizer)
    x, start, moved, metrics = trained(recipe, 100)
    log_likelihood = np.asarray(metrics["log_likelihood"])
    assert np.all(np.isfinite(log_likelihood)) and log_likelihood[-1] > log_likelihood[0] + 10
    _, quantized = vqvae_encode(recipe, moved.params, moved.state, x)
    codes = np.asarray(vqvae_codes(recipe, moved.params, moved.state, x))
    assert codes.shape == (256, *recipe.code_grid) and 0 <= codes.min()
    assert codes.max() < quantizer.num_codes
    parts = moved.params["codebook"], moved.state["codebook"]
    np.testing.assert_allclose(
        quantizer.lookup(*parts, codes), quantized.quantized, rtol=1e-5, atol=1e-5
    )
    by_level = codes.reshape(-1, *quantizer.code_shape)
    levels = by_level.reshape(len(by_level), -1).T
    usage = quantization.codebook_usage(codes, quantizer.num_codes, quantizer.code_shape)
    for level, perplexity in zip(levels, np.ravel(usage.perplexity), strict=True):
        shares = np.unique(level, return_counts=True)[1] / len(level)
        np.testing.assert_allclose(perplexity, np.exp(-np.sum(shares * np.log(shares))), rtol=1e-4)
    places = 4 * int(np.prod(quantizer.code_shape))
    np.testing.assert_allclose(
        vqvae_uniform_log_prior(recipe), -places * np.log(quantizer.num_codes), rtol=1e-6
    )


def test_residual_levels_refine_one_another():
    """With both codebooks the error is smaller than with the first alone."""
    quantizer = QUANTIZERS["residual"]
    recipe = recipe_of(quantizer)
    x, _, moved, _ = trained(recipe, 100)
    z, quantized = vqvae_encode(recipe, moved.params, moved.state, x)
    both = np.mean(np.square(z - quantized.quantized))
    single = quantization.residual_quantizer(6, 3, 1)
    parts = (moved.params["codebook"], moved.state["codebook"])
    first = jax.tree.map(lambda leaf: leaf[:1], parts)
    one = np.mean(np.square(z - single.quantize(*first, z).quantized))
    assert both < 0.9 * one


def test_signs_have_the_straight_through_gradient():
    z = jnp.asarray([[0.3, -2.0, 1.0]])
    quantizer = QUANTIZERS["sign"]
    value = lambda z: jnp.sum(
        quantizer.quantize({}, {}, z).quantized * jnp.asarray([1.0, 2.0, 3.0])
    )
    np.testing.assert_allclose(jax.grad(value)(z), [[1.0, 2.0, 3.0]])
    assert np.asarray(quantizer.quantize({}, {}, z).codes) == 1 + 4
