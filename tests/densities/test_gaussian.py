"""The normal distribution against scipy and quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dgm_jax.core import ConfigError
from dgm_jax.densities import gaussian
from dgm_jax.objectives import divergences

PAIRS = [
    (0.5, 0.7, 0.0, 1.0),
    (0.0, 1.0, 0.0, 1.0),
    (-3.0, 0.1, 1.0, 2.0),
    (2.0, 5.0, -1.0, 0.5),
    (0.0, 1e-3, 0.0, 1e3),
]


@pytest.mark.parametrize("transform", [lambda fn: fn, jax.jit], ids=["eager", "jit"])
def test_log_prob_equals_scipy_and_broadcasts(transform):
    x = np.linspace(-40, 40, 81)[:, None]
    loc, scale = np.array([0.0, -1.0, 3.0]), np.array([1.0, 0.2, 20.0])
    got = transform(gaussian.log_prob)(*(jnp.asarray(a, jnp.float32) for a in (x, loc, scale)))
    np.testing.assert_allclose(got, stats.norm.logpdf(x, loc, scale), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pair", PAIRS)
def test_kl_equals_its_closed_form_in_float64(pair):
    loc_q, scale_q, loc_p, scale_p = pair
    expected = (
        np.log(scale_p / scale_q) + (scale_q**2 + (loc_q - loc_p) ** 2) / (2 * scale_p**2) - 0.5
    )
    np.testing.assert_allclose(gaussian.kl(*pair), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(jax.jit(gaussian.kl)(*pair), expected, rtol=1e-5, atol=1e-7)


def test_kl_against_quadrature_and_a_known_number():
    np.testing.assert_allclose(gaussian.kl(0.5, 0.7, 0.0, 1.0), 0.22667, atol=5e-6)
    x = jnp.linspace(-10, 10, 4001)
    log_q, log_p = gaussian.log_prob(x, 0.5, 0.7), gaussian.log_prob(x, 0.0, 1.0)
    np.testing.assert_allclose(divergences.kl_on_grid(log_q, log_p, 0.005), 0.22667, atol=1e-5)


def test_kl_is_never_negative_and_precise_near_zero():
    scales = (1 + np.geomspace(1e-7, 1e-1, 500)).astype(np.float32)
    got = gaussian.kl(0.0, scales, 0.0, 1.0)
    assert np.all(got >= 0) and np.all(gaussian.kl(0.0, 1.0, 0.0, scales) >= 0)
    wide = scales.astype(np.float64)
    np.testing.assert_allclose(got, (wide**2 - 1) / 2 - np.log(wide), rtol=1e-3, atol=1e-8)


def test_kl_gradient_is_finite_and_right():
    gradients = jax.grad(gaussian.kl, argnums=(0, 1, 2, 3))(0.5, 0.7, 0.0, 1.0)
    np.testing.assert_allclose(gradients, [0.5, 0.7 - 1 / 0.7, -0.5, 1 - 0.49 - 0.25], rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 7.0])
def test_entropy_equals_scipy(scale):
    np.testing.assert_allclose(gaussian.entropy(scale), stats.norm.entropy(0, scale), rtol=1e-6)


def test_wrong_inputs_are_named():
    for call in (
        lambda: gaussian.log_prob(0.0, 0.0, 0.0),
        lambda: gaussian.kl(0.0, -1.0, 0.0, 1.0),
        lambda: gaussian.kl(0.0, 1.0, 0.0, 0),
        lambda: gaussian.entropy(-2.0),
    ):
        with pytest.raises(ConfigError, match="scale must be positive"):
            call()
