"""Pixel ranges, binarisation, dequantisation: exact at the ends and unbiased between."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dgm_jax import data
from dgm_jax.core import ConfigError

ALL = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


@pytest.mark.parametrize(("scaling", "low"), [("unit", 0.0), ("symmetric", -1.0)])
def test_range_is_exact_at_the_ends_and_inverts(scaling, low):
    for to_range in (data.to_model_range, jax.jit(data.to_model_range, static_argnums=1)):
        x = to_range(jnp.asarray(ALL), scaling)
        assert x.dtype == jnp.float32 and float(x.min()) == low and float(x.max()) == 1.0
        np.testing.assert_allclose(np.diff(np.asarray(x).ravel()), (1 - low) / 255, rtol=1e-4)
        np.testing.assert_array_equal(data.to_uint8(x, scaling), ALL)


def test_samples_outside_the_range_are_clipped():
    np.testing.assert_array_equal(
        data.to_uint8(jnp.array([-3.0, -1.0, 0.0, 1.0, 7.0]), "symmetric"), [0, 0, 128, 255, 255]
    )


def test_uniform_dequantization_is_exact_and_uniform():
    images = jnp.tile(jnp.asarray(ALL), (200, 1, 1, 1))
    y = np.asarray(jax.jit(data.uniform_dequantize)(jax.random.key(0), images), np.float64)
    assert y.min() >= 0 and y.max() < 1
    np.testing.assert_array_equal(np.floor(y * 256), images)
    assert stats.kstest((y * 256 - np.asarray(images)).ravel(), "uniform").pvalue > 1e-3


def test_dequantization_of_white_never_reaches_one():
    y = data.uniform_dequantize(jax.random.key(1), jnp.full((64, 64, 64, 1), 255, jnp.uint8))
    assert float(y.max()) < 1.0 and float(y.min()) >= np.float32(255 / 256)


@pytest.mark.parametrize("value", [0, 1, 64, 128, 254, 255])
def test_static_binarization_has_the_pixels_as_probabilities(value):
    n = 40_000
    out = data.static_binarize(np.full((5000, 2, 4, 1), value, np.uint8), 0)
    assert out.dtype == np.uint8 and set(np.unique(out)) <= {0, 255}
    p = value / 255
    assert abs(np.mean(out == 255) - p) <= 4 * np.sqrt(p * (1 - p) / n)


def test_static_binarization_is_fixed_by_its_seed():
    images = np.full((10, 8, 8, 1), 100, np.uint8)
    a, b, c = (data.static_binarize(images, seed) for seed in (3, 3, 4))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_dynamic_binarization_is_unbiased_and_fresh():
    x = jnp.broadcast_to(jnp.array([0.0, 0.25, 0.9, 1.0]), (20_000, 4))
    a = data.dynamic_binarize(jax.random.key(0), x)
    assert set(np.unique(a)) <= {0.0, 1.0}
    means = np.asarray(a.mean(0), np.float64)
    assert means[0] == 0 and means[3] == 1
    np.testing.assert_allclose(means, [0, 0.25, 0.9, 1], atol=4 * 0.5 / np.sqrt(20_000))
    assert not np.array_equal(a, data.dynamic_binarize(jax.random.key(1), x))


@pytest.mark.parametrize(
    ("choices", "values"),
    [
        (("unit", "none", "none"), None),
        (("unit", "dynamic", "none"), {0.0, 1.0}),
        (("symmetric", "dynamic", "none"), {-1.0, 1.0}),
        (("symmetric", "none", "uniform"), None),
    ],
)
def test_model_input_has_the_declared_range(choices, values):
    scaling, binarization, dequantization = choices
    x = np.asarray(
        data.model_input(
            jax.random.key(0),
            jnp.asarray(ALL),
            scaling=scaling,
            binarization=binarization,
            dequantization=dequantization,
        )
    )
    assert x.shape == ALL.shape and x.dtype == np.float32
    low = 0.0 if scaling == "unit" else -1.0
    assert x.min() >= low and x.max() <= 1
    if values:
        assert set(np.unique(x)) == values
    else:  # a pixel's value within one level of its place in the range
        assert np.abs((x.ravel() - low) / (1 - low) - np.arange(256) / 255).max() < 1 / 255


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (("tanh", "none", "none"), "scaling is one of"),
        (("unit", "fixed", "none"), "binarization is one of"),
        (("unit", "none", "gaussian"), "dequantization is one of"),
        (("unit", "dynamic", "uniform"), "exclude each other"),
    ],
)
def test_unknown_or_contradictory_choices(choices, message):
    scaling, binarization, dequantization = choices
    with pytest.raises(ConfigError, match=message):
        data.model_input(
            jax.random.key(0),
            ALL,
            scaling=scaling,
            binarization=binarization,
            dequantization=dequantization,
        )


@pytest.mark.parametrize(
    "function",
    [
        lambda x: data.to_model_range(x, "unit"),
        lambda x: data.uniform_dequantize(jax.random.key(0), x),
        lambda x: data.static_binarize(x, 0),
    ],
)
def test_float_pixels_are_refused(function):
    with pytest.raises(ConfigError, match="expected uint8 pixels"):
        function(ALL.astype(np.float32))
