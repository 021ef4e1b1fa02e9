"""The logit-Laplace likelihood: normalisation, the printed formula, the ends of the interval."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

from dgm_jax.core import ConfigError, DataError
from dgm_jax.densities import logit_laplace


@pytest.mark.parametrize("loc, log_scale", [(0.0, 0.0), (1.3, -1.0), (-0.7, -2.5), (0.4, 0.8)])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.25])
def test_it_integrates_to_one_over_its_support(loc, log_scale, epsilon):
    """In the variable l = logit(shrink(x)): dx = v (1 - v) dl / (1 - 2 epsilon), v = sigmoid(l)."""
    with jax.enable_x64(True):
        grid = loc + np.linspace(-1, 1, 40_001) * min(30 * np.exp(log_scale), 30.0)
        v = special.expit(grid)
        density = np.exp(
            jax.jit(lambda x: logit_laplace.log_prob(x, loc, log_scale, epsilon))(
                jnp.asarray((v - epsilon) / (1 - 2 * epsilon))
            )
        )
    total = integrate.simpson(density * v * (1 - v) / (1 - 2 * epsilon), x=grid)
    assert abs(total - 1) < 2e-5


def test_probabilities_of_intervals_of_x():
    """P(x <= c) from the Laplace distribution function against the integral of the density over
    x."""
    loc, log_scale, epsilon = 0.3, -0.5, 0.1
    low = -epsilon / (1 - 2 * epsilon)
    for cut in (0.0, 0.3, 0.9):
        x = np.linspace(low + 1e-7, cut, 400_001)
        mass = integrate.trapezoid(
            np.exp(
                np.asarray(
                    logit_laplace.log_prob(jnp.asarray(x, jnp.float32), loc, log_scale), np.float64
                )
            ),
            x,
        )
        d = (special.logit(0.8 * cut + 0.1) - loc) * np.exp(0.5)
        assert abs(mass - (0.5 * np.exp(d) if d < 0 else 1 - 0.5 * np.exp(-d))) < 2e-3


def test_the_printed_formula_and_its_derivatives():
    rng = np.random.default_rng(0)
    x, mu, log_b = rng.uniform(size=200), rng.uniform(-2, 2, 200), rng.uniform(-2, 0, 200)
    v, b = 0.8 * x + 0.1, np.exp(log_b)
    printed = np.exp(-np.abs(special.logit(v) - mu) / b) / (2 * b * v * (1 - v))
    for function in (logit_laplace.log_prob, jax.jit(logit_laplace.log_prob)):
        got = function(jnp.asarray(x), jnp.asarray(mu), jnp.asarray(log_b))
        np.testing.assert_allclose(got, np.log(0.8 * printed), rtol=1e-4, atol=1e-5)
    by_mu, by_log_b = jax.vmap(jax.grad(logit_laplace.log_prob, (1, 2)))(
        *map(jnp.asarray, (x, mu, log_b))
    )
    np.testing.assert_allclose(by_mu, np.sign(special.logit(v) - mu) / b, rtol=1e-4)
    np.testing.assert_allclose(
        by_log_b, np.abs(special.logit(v) - mu) / b - 1, rtol=1e-3, atol=1e-3
    )


def test_the_ends_of_the_interval():
    ends = logit_laplace.log_prob(jnp.array([0.0, 1.0]), 0.0, 0.0)
    expected = np.log(0.8 * np.exp(-special.logit(0.9)) / (2 * 0.1 * 0.9))
    np.testing.assert_allclose(ends, expected, rtol=1e-5)
    outside = jnp.array([-0.2, 1.2, -5.0])
    assert np.all(np.isneginf(logit_laplace.log_prob(outside, 0.0, 0.0)))
    assert np.all(np.isneginf(logit_laplace.log_prob(jnp.array([0.0, 1.0]), 0.0, 0.5, epsilon=0.0)))
    gradients = jax.vmap(jax.grad(logit_laplace.log_prob, (0, 1, 2)), (0, None, None))(
        outside, 0.0, 0.0
    )
    assert all(np.all(np.isfinite(g)) for g in gradients)


def test_reconstruct_inverts_shrink():
    x = jnp.linspace(0, 1, 256)
    loc = special.logit(np.asarray(logit_laplace.shrink(x)))
    np.testing.assert_allclose(logit_laplace.reconstruct(loc), x, atol=1e-6)
    np.testing.assert_array_equal(logit_laplace.reconstruct(jnp.array([-9.0, 9.0])), [0, 1])
    np.testing.assert_allclose(
        logit_laplace.shrink(jnp.array([0.0, 0.5, 1.0]), 0.1), [0.1, 0.5, 0.9], rtol=1e-6
    )


def test_bad_arguments():
    with pytest.raises(DataError, match="x must be floating"):
        logit_laplace.log_prob(jnp.array([0, 255]), 0.0, 0.0)
    for epsilon in (-0.1, 0.5):
        with pytest.raises(ConfigError, match=r"epsilon must be in \[0, 0.5\)"):
            logit_laplace.log_prob(jnp.array([0.5]), 0.0, 0.0, epsilon)
