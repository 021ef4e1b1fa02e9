"""Finite scalar quantisation: every code is reached, codes and values are inverse, zero stays at
zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import quantization
from dgm_jax.core import ConfigError, DataError
from dgm_jax.quantization import finite_scalar

LEVELS = [
    [8, 6, 5],
    [8, 5, 5, 5],
    [7, 5, 5, 5, 5],
    [8, 8, 8, 6, 5],
    [8, 8, 8, 5, 5, 5],
    [2, 2, 3],
    [2],
]


@pytest.mark.parametrize("levels", LEVELS, ids=str)
def test_values_and_codes_are_inverse_over_the_whole_codebook(levels):
    size = int(np.prod(levels))
    codes = jnp.arange(size)
    values = finite_scalar.codes_to_values(codes, levels)
    assert len(np.unique(values, axis=0)) == size
    np.testing.assert_array_equal(finite_scalar.values_to_codes(values, levels), codes)
    for i, level in enumerate(levels):
        expected = (np.arange(level) - level // 2) / (level // 2)
        np.testing.assert_allclose(np.unique(values[:, i]), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("levels", LEVELS, ids=str)
def test_every_code_is_reached(levels, dtype):
    """z that spreads each coordinate over all of its levels, mixed to give every combination."""
    grids = np.meshgrid(
        *[np.linspace(-9, 2.5, 24) if level == 2 else arctanh_grid(level) for level in levels]
    )
    z = jnp.asarray(np.stack([g.ravel() for g in grids], -1), dtype)
    found = jax.jit(lambda z: quantization.finite_scalar_quantize(z, levels))(z)
    assert found.codes.dtype == jnp.int32 and found.quantized.dtype == jnp.float32
    size = int(np.prod(levels))
    assert (
        len(np.unique(found.codes)) == size
        and found.codes.min() == 0
        and found.codes.max() == size - 1
    )
    decoded = finite_scalar.codes_to_values(found.codes, levels)
    decoded, quantized = (np.asarray(x).view(np.uint32) for x in (decoded, found.quantized))
    np.testing.assert_array_equal(decoded, quantized)


def arctanh_grid(level):
    """Where bound is the whole number of each level, ends included."""
    height, offset = (level - 1) * (1 + finite_scalar.EPSILON) / 2, 0.5 * (level % 2 == 0)
    return np.arctanh((np.arange(level) - level // 2 + offset) / height) - np.arctanh(
        offset / height
    )


@pytest.mark.parametrize("levels", LEVELS, ids=str)
def test_zero_is_at_zero_and_extremes_are_finite(levels):
    np.testing.assert_allclose(finite_scalar.bound(jnp.zeros(len(levels)), levels), 0, atol=1e-6)
    for extreme in (1e30, -1e30, jnp.inf, -jnp.inf):
        found = quantization.finite_scalar_quantize(jnp.full(len(levels), extreme), levels)
        ends = [(level - 1 - level // 2) / (level // 2) if extreme > 0 else -1 for level in levels]
        np.testing.assert_allclose(found.quantized, ends, atol=1e-6)
    zero = quantization.finite_scalar_quantize(jnp.zeros(len(levels)), levels)
    np.testing.assert_array_equal(zero.quantized, 0)


def test_a_thousand_and_more_levels_do_not_overflow_the_code():
    for extreme, code in ((50.0, 3000), (-50.0, 0)):
        assert int(quantization.finite_scalar_quantize(jnp.array([extreme]), [3001]).codes) == code


def test_the_gradient_is_that_of_the_bound():
    levels, z = [8, 6, 5], jnp.asarray(np.random.default_rng(0).normal(size=3), jnp.float32)
    jacobian = jax.jacobian(lambda z: quantization.finite_scalar_quantize(z, levels).quantized)(z)
    height = (np.array(levels) - 1) * (1 + finite_scalar.EPSILON) / 2
    offset = np.array([0.5, 0.5, 0])
    slope = (
        height
        / np.cosh(np.asarray(z, np.float64) + np.arctanh(offset / height)) ** 2
        / (np.array(levels) // 2)
    )
    np.testing.assert_allclose(jacobian, np.diag(slope), rtol=1e-5, atol=1e-7)


def test_codes_beyond_the_whole_numbers_of_float32():
    levels = [64] * 5
    codes = jnp.array([2**30 - 1, 2**24 + 1, 0])
    np.testing.assert_array_equal(
        finite_scalar.values_to_codes(finite_scalar.codes_to_values(codes, levels), levels), codes
    )


def test_bad_arguments():
    with pytest.raises(ConfigError, match="levels must be integers of at least 2"):
        quantization.finite_scalar_quantize(jnp.zeros(2), [1, 5])
    with pytest.raises(ConfigError, match="at most 2\\^31 - 1"):
        quantization.finite_scalar_quantize(jnp.zeros(4), [256] * 4)
    with pytest.raises(ConfigError, match=r"z must be \[\*B, 2\]"):
        quantization.finite_scalar_quantize(jnp.zeros(3), [8, 5])
    with pytest.raises(DataError, match=r"codes must lie in \[0, 40\)"):
        finite_scalar.codes_to_values(jnp.array([40]), [8, 5])
