"""Unnormalised posteriors: constants in closed form, by adaptive quadrature, and a long run of a
well-kept sampler."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from dgm_jax.core import ConfigError
from dgm_jax.densities import posteriors
from dgm_jax.densities.posteriors import EFFECTS, POSTERIORS, STANDARD_ERRORS
from dgm_jax.experiments.avb_posteriors.measure import truth

Y, SIGMA = np.array(EFFECTS), np.array(STANDARD_ERRORS)


def normal(x, loc, scale):
    return scipy.stats.norm.logpdf(x, loc, scale)


def joint(mu, tau, eta, signed):
    prior = normal(mu, 0, 1) + normal(eta, 0, 1).sum() + normal(tau, 0, 1)
    return (
        normal(Y, mu + tau * eta, SIGMA).sum() + prior + (0 if signed else np.log(2) + np.log(tau))
    )


def test_the_shapes_of_the_notebook():
    z = np.random.default_rng(0).normal(size=(4, 5, 2))
    a, b = z[..., 0], z[..., 1]
    np.testing.assert_allclose(
        posteriors.rosenbrock_posterior(z), -((a - 1) ** 2) - (b**2 - a) ** 2, rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(posteriors.torus(z), -((a**2 + b**2 - 2) ** 2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("signed", [True, False])
def test_eight_schools_equals_scipy(signed):
    for z in np.random.default_rng(1).normal(size=(5, 10)):
        tau = z[1] if signed else np.exp(z[1])
        found = posteriors.eight_schools(jnp.asarray(z, jnp.float32), signed=signed)
        np.testing.assert_allclose(found, joint(z[0], tau, z[2:], signed), rtol=1e-5)
        quantities = posteriors.eight_schools_quantities(jnp.asarray(z, jnp.float32), signed=signed)
        np.testing.assert_allclose(quantities, [z[0], tau, *z[2:]], rtol=1e-6)


def test_the_symmetry_of_the_signed_model():
    z = jnp.asarray(np.random.default_rng(2).normal(size=(7, 10)), jnp.float32)
    mirrored = jnp.concatenate([z[:, :1], -z[:, 1:]], axis=-1)
    np.testing.assert_allclose(
        posteriors.eight_schools(z, signed=True),
        posteriors.eight_schools(mirrored, signed=True),
        rtol=1e-6,
    )


@pytest.mark.parametrize("signed", [True, False])
def test_the_effects_integrate_out(signed):
    """log p(y, mu, tau) + log p(eta | mu, tau) = log p(y, mu, tau, eta), at any eta."""
    rng = np.random.default_rng(3)
    for _ in range(5):
        mu, tau, eta = rng.normal(), abs(rng.normal()) + 0.1, rng.normal(size=8)
        plane = jnp.array([mu, tau], jnp.float32)
        mean, variance = posteriors.eight_schools_given_plane(plane)
        found = (
            posteriors.eight_schools_plane(plane, signed=signed)
            + normal(eta, mean, np.sqrt(variance)).sum()
        )
        # a density of tau, not of log tau
        expected = joint(mu, tau, eta, signed) - (0 if signed else np.log(tau))
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    outside = posteriors.eight_schools_plane(jnp.array([0.0, -1.0]), signed=signed)
    assert np.isfinite(outside) if signed else outside == -np.inf


def rosenbrock_constant():
    """a integrates to sqrt(pi / 2), b to a sum of Bessel functions: int exp(-(b^2 - 1)^2 / 2)
    db."""
    bessel = scipy.special.iv(-0.25, 0.25) + scipy.special.iv(0.25, 0.25)
    return np.log(np.sqrt(np.pi / 2) * np.pi / 2 * np.exp(-0.25) * bessel)


def schools_constant(weight):
    """log of the integral of p(y, mu, tau) weight(mu, tau), tau > 0, by scipy's adaptive rule."""

    def value(mu, tau):
        variance = SIGMA**2 + tau**2
        squares = ((Y - mu) ** 2 / variance).sum() + mu**2 + tau**2
        return (
            2
            * np.exp(12 - squares / 2)
            / np.sqrt(2 * np.pi) ** 10
            / np.sqrt(variance.prod())
            * weight(mu, tau)
        )

    return scipy.integrate.dblquad(value, 0, 6, -5, 5, epsabs=1e-6)[0]


def test_the_constants():
    torus = np.log(np.pi**1.5 * scipy.special.erfc(-2) / 2)
    evidence = np.log(schools_constant(lambda mu, tau: 1.0)) - 12
    expected = {"rosenbrock": rosenbrock_constant(), "torus": torus, "eight_schools": evidence}
    for name, value in (expected | {"eight_schools_signed": evidence}).items():
        np.testing.assert_allclose(truth(name).log_normalizer, value, atol=1e-5)


def test_moments_in_closed_form_and_by_scipy():
    """Torus: E a^2 = E |z|^2 / 2, |z|^2 a normal cut at zero. Rosenbrock: E a = (1 + E b^2) / 2."""
    square = scipy.stats.truncnorm(-2 / np.sqrt(0.5), np.inf, 2, np.sqrt(0.5)).mean()
    np.testing.assert_allclose(truth("torus").mean, 0, atol=1e-6)
    np.testing.assert_allclose(truth("torus").sd, np.sqrt(square / 2), rtol=1e-5)
    banana = truth("rosenbrock")
    np.testing.assert_allclose(banana.mean, [(1 + banana.sd[1] ** 2) / 2, 0], atol=1e-5)
    schools, total = truth("eight_schools"), schools_constant(lambda mu, tau: 1.0)
    for i, weight in enumerate((lambda mu, tau: mu, lambda mu, tau: tau)):
        np.testing.assert_allclose(schools.mean[i], schools_constant(weight) / total, rtol=1e-4)
    first = schools_constant(lambda mu, tau: tau * (Y[0] - mu) / (SIGMA[0] ** 2 + tau**2)) / total
    np.testing.assert_allclose(schools.mean[2], first, rtol=1e-4)
    signed = truth("eight_schools_signed")
    np.testing.assert_allclose(signed.mean[1:], 0, atol=1e-6)
    np.testing.assert_allclose(signed.sd[1], np.hypot(schools.mean[1], schools.sd[1]), rtol=1e-5)


@pytest.mark.parametrize("name", POSTERIORS)
def test_gradients_are_finite_under_jit(name):
    target = POSTERIORS[name]
    z = 3 * jax.random.normal(jax.random.key(0), (200, target.size))
    assert np.isfinite(jax.jit(jax.vmap(jax.grad(target.log_density)))(z)).all()
    assert target.log_density(z).shape == (200,) and target.quantities(z).shape == z.shape
    assert target.given_plane(z[:, :2])[0].shape == (200, target.size - 2)


def test_wrong_sizes_are_named():
    for function, size in (
        (posteriors.torus, 2),
        (posteriors.rosenbrock_posterior, 2),
        (posteriors.eight_schools, 10),
    ):
        with pytest.raises(ConfigError, match=f"must have {size} coordinates; got \\(4, 3\\)"):
            function(jnp.zeros((4, 3)))


@pytest.mark.slow
def test_a_long_run_of_nuts():
    """Eight schools by BlackJAX's NUTS: 8 chains of 2,500 draws after 500 of warm-up, within 5
    standard errors."""
    blackjax = pytest.importorskip("blackjax")
    target, exact = POSTERIORS["eight_schools"], truth("eight_schools")

    def chain(key):
        key_start, key_warm, key_run = jax.random.split(key, 3)
        warmup = blackjax.window_adaptation(
            blackjax.nuts, target.log_density, target_acceptance_rate=0.95
        )
        (state, parameters), _ = warmup.run(
            key_warm, 0.5 * jax.random.normal(key_start, (10,)), num_steps=500
        )
        kernel = blackjax.nuts(target.log_density, **parameters)

        def step(state, key):
            state, info = kernel.step(key, state)
            return state, (state.position, info.is_divergent)

        return jax.lax.scan(step, state, jax.random.split(key_run, 2_500))[1]

    z, divergent = jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(0), 8))
    draws = np.asarray(target.quantities(z), np.float64)
    batches = draws.reshape(8 * 10, 250, 10)  # means of 250 successive draws are nearly independent
    for power, expected in ((batches, exact.mean), (np.square(batches - exact.mean), exact.sd**2)):
        means = power.mean(axis=1)
        error = means.std(axis=0, ddof=1) / np.sqrt(len(means))
        assert error.max() < 0.05 * exact.sd.max()
        assert np.all(np.abs(means.mean(axis=0) - expected) < 5 * error)
    assert np.mean(divergent) < 0.01
