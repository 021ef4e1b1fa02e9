"""The Bernoulli distribution against scipy, and at the ends of the logit axis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dgm_jax.core import DataError
from dgm_jax.densities import bernoulli

LOGITS = np.linspace(-12, 12, 49)
P = 1 / (1 + np.exp(-LOGITS))


@pytest.mark.parametrize("x", [0, 1])
def test_log_prob_against_scipy(x):
    for value in (x, float(x), bool(x), np.uint8(x)):
        got = bernoulli.log_prob(value, jnp.asarray(LOGITS))
        np.testing.assert_allclose(got, stats.bernoulli(P).logpmf(x), rtol=1e-4)
    compiled = jax.jit(bernoulli.log_prob)(jnp.full(49, x), jnp.asarray(LOGITS))
    np.testing.assert_allclose(compiled, stats.bernoulli(P).logpmf(x), rtol=1e-4)


def test_grey_values_give_the_cross_entropy():
    got = bernoulli.log_prob(0.3, jnp.asarray(LOGITS))
    np.testing.assert_allclose(got, 0.3 * np.log(P) + 0.7 * np.log1p(-P), rtol=1e-4)
    np.testing.assert_allclose(
        jax.grad(bernoulli.log_prob, 1)(0.3, 0.7), 0.3 - 1 / (1 + np.exp(-0.7)), rtol=1e-5
    )


def test_certainty_costs_nothing_and_a_miss_costs_its_logit():
    x, logits = (
        jnp.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0]),
        jnp.array([np.inf, -np.inf, 60.0, 60.0, -1e30, 1e30]),
    )
    got = bernoulli.log_prob(x, logits)
    np.testing.assert_allclose(got, [0, 0, -np.exp(-60.0), -60, -1e30, -1e30], rtol=1e-5)
    assert np.isneginf(bernoulli.log_prob(1.0, -jnp.inf)) and np.isneginf(
        bernoulli.log_prob(0.0, jnp.inf)
    )
    gradient = jax.vmap(jax.grad(bernoulli.log_prob, 1))(x, logits)
    np.testing.assert_allclose(gradient, [0, 0, np.exp(-60.0), -1, 1, -1], rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
def test_derivatives_of_every_order_at_zero_and_beside_it(x):
    """Of x l - log(1 + exp(l)): x - s, -s (1 - s), -s (1 - s) (1 - 2 s) with s = sigmoid(l)."""
    logits = np.array([-30.0, -1.0, 0.0, 1e-6, 2.0, 30.0])
    s = 1 / (1 + np.exp(-logits))
    other = 1 / (1 + np.exp(logits))  # 1 - s, whose digits the difference loses
    expected = [x * other - (1 - x) * s, -s * other, -s * other * (other - s)]
    derivative = lambda logit: bernoulli.log_prob(x, logit)
    for values, rounding in zip(expected, (1e-20, 1e-20, 3e-8), strict=True):
        derivative = jax.grad(derivative)  # the third is a difference of terms of order 1 near 0
        got = jax.vmap(derivative)(jnp.asarray(logits, jnp.float32))
        np.testing.assert_allclose(got, values, rtol=3e-6, atol=rounding)
    by_forward_mode = jax.vmap(jax.jacfwd(lambda logit: bernoulli.log_prob(x, logit)))
    np.testing.assert_allclose(
        by_forward_mode(jnp.asarray(logits, jnp.float32)), expected[0], rtol=3e-6, atol=1e-20
    )


def test_the_derivative_by_x_is_the_logit_for_every_x():
    for x in (0.0, 0.3, 1.0):
        slope = jax.grad(bernoulli.log_prob, (0, 1))(x, jnp.float32(-2.5))
        np.testing.assert_allclose(slope, [-2.5, x - 1 / (1 + np.exp(2.5))], rtol=1e-6)


def test_entropy_and_divergence():
    got = bernoulli.entropy(jnp.asarray(LOGITS))
    np.testing.assert_allclose(got, stats.bernoulli(P).entropy(), rtol=1e-3, atol=1e-7)
    np.testing.assert_array_equal(bernoulli.entropy(jnp.array([np.inf, -np.inf])), 0)
    assert np.all(
        np.isfinite(
            jax.vmap(jax.grad(bernoulli.entropy))(jnp.array([np.inf, -np.inf, 1.0, -100.0]))
        )
    )
    other = 1 / (1 + np.exp(LOGITS / 2 - 1))
    expected = P * np.log(P / other) + (1 - P) * np.log((1 - P) / (1 - other))
    got = jax.jit(bernoulli.kl)(jnp.asarray(LOGITS), jnp.asarray(1 - LOGITS / 2))
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-6)


def test_values_outside_the_unit_interval_are_an_error():
    with pytest.raises(DataError, match=r"x must be in \[0, 1\], got values from 0 to 255"):
        bernoulli.log_prob(np.array([0, 255]), jnp.zeros(2))
