"""The discretised logistic likelihood: masses, tails and derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dgm_jax.core import ConfigError, DataError
from dgm_jax.densities import discretized_logistic


def masses(loc, scale, num_values):
    """float64 masses from scipy's logistic law; the survival function above the mean keeps the
    digits of the tail."""
    centres = 2 * np.arange(num_values) / (num_values - 1) - 1
    half, law = 1 / (num_values - 1), stats.logistic(loc, scale)
    left = np.where(np.arange(num_values) == 0, -np.inf, centres - half)
    right = np.where(np.arange(num_values) == num_values - 1, np.inf, centres + half)
    return np.where(centres > loc, law.sf(left) - law.sf(right), law.cdf(right) - law.cdf(left))


@pytest.mark.parametrize("num_values", [2, 16, 256])
@pytest.mark.parametrize(
    "loc, log_scale", [(0.0, 0.0), (0.3, -2.0), (-0.9, -4.0), (1.7, -1.0), (0.1, 5.0), (0.2, -6.0)]
)
def test_masses_add_up_to_one_and_agree_with_scipy(loc, log_scale, num_values):
    x = jnp.arange(num_values)
    for function in (
        discretized_logistic.log_prob,
        jax.jit(discretized_logistic.log_prob, static_argnums=3),
    ):
        got = np.asarray(function(x, loc, log_scale, num_values), np.float64)
        assert abs(np.exp(got).sum() - 1) < 2e-5
    expected = masses(loc, np.exp(log_scale), num_values)
    np.testing.assert_allclose(np.exp(got), expected, rtol=3e-4, atol=1e-30)


@pytest.mark.parametrize("log_scale", [-7.0, -20.0, -40.0, -90.0, 0.0, 20.0, 40.0, 90.0, 95.0])
def test_extreme_scales_stay_finite_with_finite_derivatives(log_scale):
    x = jnp.arange(256)
    value = discretized_logistic.log_prob(x, 0.1, log_scale)
    assert np.all(np.isfinite(value))
    gradients = jax.jit(jax.vmap(jax.grad(discretized_logistic.log_prob, (1, 2)), (0, None, None)))(
        x, 0.1, log_scale
    )
    assert all(np.all(np.isfinite(g)) for g in gradients)
    if log_scale >= 20.0:  # nearly all mass in the tails, and 1 / (4 scale) density between them
        np.testing.assert_allclose(value[0], np.log(0.5), rtol=1e-5)
        np.testing.assert_allclose(value[100], np.log(2 / 255 / 4) - log_scale, rtol=1e-5)
        np.testing.assert_allclose(gradients[1][100], -1.0, rtol=1e-5)


def test_derivatives_against_differences_in_float64():
    with jax.enable_x64(True):
        x = jnp.arange(0, 256, 15)
        loc, log_scale, h = 0.21, -1.3, 1e-5
        f = discretized_logistic.log_prob
        by_loc, by_scale = jax.vmap(jax.grad(f, (1, 2)), (0, None, None))(x, loc, log_scale)
        slope = (f(x, loc + h, log_scale) - f(x, loc - h, log_scale)) / (2 * h)
        np.testing.assert_allclose(by_loc, slope, rtol=1e-5)
        slope = (f(x, loc, log_scale + h) - f(x, loc, log_scale - h)) / (2 * h)
        np.testing.assert_allclose(by_scale, slope, rtol=1e-5, atol=1e-7)


def test_eight_bit_pixels_do_not_wrap_around():
    x = np.array([0, 100, 200, 255])
    as_int = discretized_logistic.log_prob(jnp.asarray(x), 0.2, -1.0)
    np.testing.assert_array_equal(
        discretized_logistic.log_prob(jnp.asarray(x, jnp.uint8), 0.2, -1.0), as_int
    )


def test_bad_arguments():
    with pytest.raises(DataError, match="must be integers"):
        discretized_logistic.log_prob(jnp.array([0.5]), 0.0, 0.0)
    with pytest.raises(DataError, match=r"must be in 0\.\.255, got values from 0 to 256"):
        discretized_logistic.log_prob(jnp.array([0, 256]), 0.0, 0.0)
    with pytest.raises(ConfigError, match="num_values must be at least 2"):
        discretized_logistic.log_prob(jnp.array([0]), 0.0, 0.0, 1)
    outside = jax.jit(discretized_logistic.log_prob)(jnp.array([-1, 256]), 0.0, 0.0)
    assert np.all(np.isneginf(outside))
