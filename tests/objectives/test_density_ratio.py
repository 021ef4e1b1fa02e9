"""Density ratios by logistic regression against pairs of Gaussians, whose log-ratio is a
quadratic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate
from scipy.special import expit
from scipy.stats import norm

from dgm_jax.core import ConfigError
from dgm_jax.objectives import density_ratio, divergences

LOG_2 = np.log(2)
# q1 = N(.5, .7^2), q2 = N(0, 1)
KL, MEAN_RATIO, JSD = 0.22667, 1.37188, LOG_2 - 1.256670 / 2


def draws(seed, num, loc=0.5, scale=0.7):
    rng = np.random.default_rng(seed)
    return loc + scale * rng.normal(size=num), rng.normal(size=num)


def features(z):
    return np.stack([np.ones_like(z), z, z**2], -1)


def fit(z1, z2, ridge=0.0, num_steps=30):
    """Logistic regression by Newton's method: the minimum of `logistic_loss` over T(z) = w . (1, z,
    z^2)."""
    f1, f2, w = features(z1), features(z2), np.zeros(3)
    for _ in range(num_steps):
        d1, d2 = expit(f1 @ w), expit(f2 @ w)
        slope = -f1.T @ (1 - d1) / len(f1) + f2.T @ d2 / len(f2) + ridge * w
        bend = (f1.T * (d1 * (1 - d1))) @ f1 / len(f1) + (f2.T * (d2 * (1 - d2))) @ f2 / len(f2)
        w = w - np.linalg.solve(bend + (ridge + 1e-12) * np.eye(3), slope)
    return w


def log_ratio(z, loc=0.5, scale=0.7):
    return norm.logpdf(z, loc, scale) - norm.logpdf(z)


def as_logits(z, w):
    return jnp.asarray(features(z) @ w, jnp.float32)


def test_the_known_numbers_are_those_of_quadrature():
    def mean(f):
        return integrate.quad(lambda z: norm.pdf(z, 0.5, 0.7) * f(z), -12, 12)[0]

    np.testing.assert_allclose(mean(log_ratio), KL, atol=1e-5)
    np.testing.assert_allclose(mean(lambda z: np.exp(log_ratio(z))), MEAN_RATIO, atol=1e-5)
    grid = jnp.linspace(-10, 10, 4001)
    js = divergences.js_on_grid(norm.logpdf(grid, 0.5, 0.7), norm.logpdf(grid), 0.005)
    np.testing.assert_allclose(js, JSD, atol=2e-6)


def test_the_estimate_is_the_mean_logit_and_not_the_mean_ratio():
    z1, _ = draws(0, 400_000)
    logits = jnp.asarray(log_ratio(z1), jnp.float32)
    got = jax.jit(density_ratio.kl_estimate)(logits)
    assert abs(got - KL) < 4 * np.std(log_ratio(z1)) / np.sqrt(len(z1))
    discriminator = jax.nn.sigmoid(logits)
    np.testing.assert_allclose(
        jnp.mean(jnp.log(discriminator / (1 - discriminator))), got, atol=1e-5
    )
    np.testing.assert_allclose(jnp.mean(discriminator / (1 - discriminator)), MEAN_RATIO, atol=0.01)
    np.testing.assert_allclose(
        density_ratio.kl_estimate(jnp.array([[1.0, -2.0], [40.0, 100.0]])), 34.75, rtol=1e-6
    )


def test_the_loss_at_the_true_ratio_is_two_log_two_less_two_jsd():
    z1, z2 = draws(1, 400_000)
    loss = jax.jit(density_ratio.logistic_loss)(
        *(jnp.asarray(log_ratio(z), jnp.float32) for z in (z1, z2))
    )
    np.testing.assert_allclose(loss, 1.256670, atol=0.003)
    np.testing.assert_allclose(density_ratio.js_estimate(loss), JSD, atol=0.0015)
    assert density_ratio.logistic_loss(jnp.zeros(3), jnp.zeros((5, 2))) == pytest.approx(
        2 * LOG_2, rel=1e-6
    )
    # Logits at which sigmoid(T) is 0 or 1 in float32.
    np.testing.assert_allclose(
        density_ratio.logistic_loss(jnp.array([-500.0]), jnp.array([300.0])), 800.0, rtol=1e-6
    )
    slope = jax.grad(density_ratio.logistic_loss, (0, 1))(jnp.array([-500.0]), jnp.array([300.0]))
    np.testing.assert_allclose(slope, [[-1.0], [1.0]], rtol=1e-6)


def test_the_true_ratio_minimises_the_loss():
    """Over a grid of z, the derivative of the expected loss in T(z) is q2 D - q1 (1 - D): zero at
    the log-ratio."""
    z = np.linspace(-3, 3, 50)
    logits = jnp.asarray(log_ratio(z), jnp.float32)
    q1, q2 = norm.pdf(z, 0.5, 0.7), norm.pdf(z)

    def expected_loss(t):
        each = jax.vmap(
            lambda a: jnp.stack(
                [density_ratio.logistic_loss(a, -1e9), density_ratio.logistic_loss(1e9, a)]
            )
        )(t)
        return jnp.sum(q1 * each[:, 0] + q2 * each[:, 1])

    np.testing.assert_allclose(jax.grad(expected_loss)(logits), 0, atol=1e-6)
    assert np.abs(jax.grad(expected_loss)(logits + 0.1)).max() > 1e-3


@pytest.mark.parametrize(
    ("loc", "scale", "kl", "tolerance"), [(0.5, 0.7, 0.22667, 0.006), (1.0, 0.5, 0.81815, 0.02)]
)
def test_logistic_regression_finds_the_kl(loc, scale, kl, tolerance):
    z1, z2 = draws(2, 100_000, loc, scale)
    w = fit(z1, z2)
    true = np.array(
        [-np.log(scale) - loc**2 / (2 * scale**2), loc / scale**2, (1 - 1 / scale**2) / 2]
    )
    np.testing.assert_allclose(w, true, atol=0.05)
    fresh = draws(3, 100_000, loc, scale)
    logits = [as_logits(z, w) for z in fresh]
    assert abs(density_ratio.kl_estimate(logits[0]) - kl) < tolerance
    found = density_ratio.diagnose(*logits)
    for normaliser in (found.log_normaliser, found.log_inverse_normaliser):
        assert abs(normaliser.value) < 5 * normaliser.standard_error + 0.01
    assert found.loss == density_ratio.logistic_loss(*logits)
    assert abs(found.kl_bound - kl) < tolerance
    error = density_ratio.ratio_error(
        logits[0], jnp.asarray(log_ratio(fresh[0], loc, scale), jnp.float32)
    )
    assert abs(error.bias) < 0.01 and error.root_mean_square < 0.03


def test_equal_distributions_give_nothing():
    rng = np.random.default_rng(4)
    z1, z2 = rng.normal(size=(2, 100_000))
    w = fit(z1, z2)
    found = density_ratio.diagnose(as_logits(z1, w), as_logits(z2, w))
    assert abs(found.kl) < 5e-4 and abs(found.js) < 5e-4 and abs(found.loss - 2 * LOG_2) < 1e-3


def test_separable_samples_are_diagnosed():
    """N(6, .1^2) against N(0, 1): KL 19.81. What is found depends on the ridge, and the histograms
    say why."""
    z1, z2 = draws(5, 20_000, 6.0, 0.1)
    found = [
        density_ratio.diagnose(*(as_logits(z, fit(z1, z2, ridge)) for z in (z1, z2)))
        for ridge in (1e-3, 1e-5)
    ]
    assert found[1].kl - found[0].kl > 2
    assert abs(found[0].kl - 19.81) > 3
    for one in found:
        assert one.histogram_q1[-1] > 0.999 and one.histogram_q2[0] > 0.99
    # A critic that overstates is told by its normaliser, without knowing the truth.
    z1, z2 = draws(6, 50_000)
    wrong = density_ratio.diagnose(
        *(jnp.asarray(log_ratio(z) + 0.3, jnp.float32) for z in (z1, z2))
    )
    assert wrong.log_normaliser.value > 10 * wrong.log_normaliser.standard_error
    np.testing.assert_allclose(
        wrong.log_normaliser.value, 0.3, atol=5 * float(wrong.log_normaliser.standard_error)
    )
    np.testing.assert_allclose(wrong.kl - wrong.kl_bound, wrong.log_normaliser.value, rtol=1e-5)


def test_bounds_on_the_kl_hold_for_any_critic():
    z1, z2 = draws(7, 200_000)
    for change in (
        lambda t: t,
        lambda t: 0.5 * t,
        lambda t: 1.5 * t + 0.4,
        lambda t: 0 * t,
        lambda t: t - 1,
    ):
        logits = [jnp.asarray(change(log_ratio(z)), jnp.float32) for z in (z1, z2)]
        strong, weak = (
            density_ratio.donsker_varadhan(*logits),
            density_ratio.f_divergence_bound(*logits),
        )
        assert weak <= strong + 1e-6 and strong <= KL + 0.01
        by_hand = (
            np.mean(np.asarray(logits[0], np.float64))
            - np.mean(np.exp(np.asarray(logits[1], np.float64)))
            + 1
        )
        np.testing.assert_allclose(weak, by_hand, atol=1e-5)
    exact = [jnp.asarray(log_ratio(z), jnp.float32) for z in (z1, z2)]
    for bound in (density_ratio.donsker_varadhan, density_ratio.f_divergence_bound):
        np.testing.assert_allclose(bound(*exact), KL, atol=0.01)
    np.testing.assert_allclose(
        density_ratio.donsker_varadhan(exact[0] - 1, exact[1] - 1), KL, atol=0.01
    )


def test_histograms_are_shares_of_equal_bins():
    probabilities = np.array([0.0, 0.04, 0.26, 0.49, 0.51, 0.99, 1.0])
    with np.errstate(divide="ignore"):
        logits = jnp.asarray(np.log(probabilities) - np.log1p(-probabilities), jnp.float32)
    found = density_ratio.diagnose(jnp.clip(logits, -200, 200), jnp.zeros(4), num_bins=4)
    np.testing.assert_allclose(
        found.histogram_q1, np.histogram(probabilities, 4, (0, 1))[0] / 7, rtol=1e-6
    )
    np.testing.assert_allclose(found.histogram_q2, [0, 0, 1, 0])


def test_input_that_does_not_fit_is_named():
    with pytest.raises(
        ConfigError, match=r"logits_q2 must hold at least one draw; got shape \(0, 3\)"
    ):
        density_ratio.logistic_loss(jnp.zeros(3), jnp.zeros((0, 3)))
    with pytest.raises(ConfigError, match="logits_q1"):
        density_ratio.kl_estimate(jnp.zeros(0))
    with pytest.raises(ConfigError, match=r"got \(3,\) and \(4,\)"):
        density_ratio.ratio_error(jnp.zeros(3), jnp.zeros(4))
    with pytest.raises(ConfigError, match="num_bins"):
        density_ratio.diagnose(jnp.zeros(3), jnp.zeros(3), 0)
