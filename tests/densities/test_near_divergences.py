"""Divergences of two near laws, in float32, against the same formulas in 80-bit or longer floats:
never below zero, and right to rounding of what the inputs hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import exp_remainder
from dgm_jax.densities import bernoulli, categorical, gaussian
from dgm_jax.objectives import divergences

RNG = np.random.default_rng(0)


def _near(shape, distance):
    """Pairs of float32 numbers about `distance` apart."""
    first = RNG.normal(size=shape).astype(np.float32)
    return first, (first + distance * RNG.normal(size=shape)).astype(np.float32)


def _log_softmax(x):
    x = x.astype(np.longdouble)
    return x - np.log(np.sum(np.exp(x), axis=-1, keepdims=True))


@pytest.mark.parametrize("distance", [1e-5, 1e-3, 0.1, 0.45, 0.55, 3.0, 30.0])
def test_bernoulli(distance):
    a = np.linspace(-12, 12, 801).astype(np.float32)
    b = (a + np.float32(distance)).astype(np.float32)
    wide, other = a.astype(np.longdouble), b.astype(np.longdouble)
    softplus = lambda t: np.logaddexp(0, t)
    q = 1 / (1 + np.exp(-wide))
    exact = q * (softplus(-other) - softplus(-wide)) + (1 - q) * (softplus(other) - softplus(wide))
    for got in (bernoulli.kl(a, b), bernoulli.kl(-a, -b)):
        assert np.min(got) >= 0
        np.testing.assert_allclose(got, exact.astype(np.float64), rtol=2e-5, atol=1e-15)
    slope = jax.vmap(jax.grad(bernoulli.kl, argnums=1))(a, b)
    np.testing.assert_allclose(slope, (1 / (1 + np.exp(-other)) - q).astype(float), atol=2e-7)


@pytest.mark.parametrize("distance", [1e-6, 1e-4, 1e-2, 1.0, 10.0])
def test_categorical_and_sums_over_atoms(distance):
    """The error of float32 log-probabilities near each other is of the order of their own
    rounding times their distance."""
    q, p = _near((500, 10), distance)
    log_q, log_p = _log_softmax(q), _log_softmax(p)
    exact = np.sum(np.exp(log_q) * (log_q - log_p), axis=-1).astype(np.float64)
    rounded = jax.nn.log_softmax(q), jax.nn.log_softmax(p)
    for got in (categorical.kl(q, p), divergences.kl(*rounded)):
        assert np.min(got) >= 0
        np.testing.assert_allclose(got, exact, rtol=1e-5, atol=1e-6 * distance + 1e-12)


def test_a_law_near_the_uniform_one():
    logits = 1e-4 * RNG.normal(size=(500, 20)).astype(np.float32)
    log_q = _log_softmax(logits)
    exact = np.sum(np.exp(log_q) * (log_q + np.log(np.longdouble(20))), axis=-1)
    got = categorical.kl_to_uniform(logits)
    assert np.min(got) >= 0
    np.testing.assert_allclose(got, exact.astype(np.float64), atol=1e-10)


def test_classes_of_probability_zero_and_gradients_there():
    q = jnp.array([[0.0, 0.5, -jnp.inf], [0.0, 0.5, -jnp.inf], [0.0, -jnp.inf, 1.0]])
    p = jnp.array([[0.3, 0.1, -jnp.inf], [0.3, 0.1, 2.0], [0.3, 0.1, -jnp.inf]])
    kl = categorical.kl(q, p)
    share = np.exp([0.0, 0.5]) / np.exp([0.0, 0.5]).sum()
    other = np.exp([0.3, 0.1]) / (np.exp([0.3, 0.1]).sum() + np.exp(2.0))
    expected = np.sum(share * np.log(share / other))
    np.testing.assert_allclose(kl[1], expected, rtol=1e-6)
    assert kl[2] == jnp.inf and kl[0] < kl[1]
    for which in (0, 1):
        gradient = jax.grad(lambda *x: jnp.sum(categorical.kl(*x)[:2]), which)(q, p)
        assert np.all(np.isfinite(gradient[:2]))


@pytest.mark.parametrize("distance", [1e-6, 1e-4, 1e-2, 1.0])
def test_gaussian(distance):
    scale = np.exp(RNG.normal(size=1000)).astype(np.float32)
    other = (scale * np.exp(distance * RNG.normal(size=1000))).astype(np.float32)
    ratio = 2 * (np.log(scale.astype(np.longdouble)) - np.log(other.astype(np.longdouble)))
    exact = (np.expm1(ratio) - ratio) / 2
    got = gaussian.kl(0.0, scale, 0.0, other)
    assert np.min(got) >= 0
    np.testing.assert_allclose(got, exact.astype(np.float64), rtol=5e-6, atol=1e-30)


def test_the_remainder_of_exp_and_its_derivatives():
    u = np.concatenate([np.linspace(-3, 3, 601), [-80.0, 1e-20, 1e-6, 60.0]]).astype(np.float32)
    exact = (np.expm1(u.astype(np.longdouble)) - u).astype(np.float64)
    series = (u.astype(np.float64) ** 2 / 2) * (1 + u / 3)  # where longdouble has no digits left
    exact = np.where(np.abs(u) < 1e-5, series, exact)
    np.testing.assert_allclose(exp_remainder(u), exact, rtol=2e-6, atol=1e-38)
    np.testing.assert_allclose(jax.vmap(jax.grad(exp_remainder))(u), np.expm1(u), rtol=1e-6)
    second = jax.vmap(jax.grad(jax.grad(exp_remainder)))(u)  # 1 + expm1(u), so to an ulp of 1
    np.testing.assert_allclose(second, np.exp(u), rtol=1e-6, atol=1e-7)
