"""The theorems of likelihood-free learning, through the losses themselves.

On a finite space with rational probabilities a batch that repeats each atom as often as it occurs
makes every mean over examples an exact expectation.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from dgm_jax.core import ConfigError
from dgm_jax.densities import gaussian, mixture
from dgm_jax.objectives import divergences, gan

P_COUNTS = np.array([6, 3, 1, 4, 2, 4])
Q_COUNTS = np.array([1, 3, 5, 2, 8, 1])
P, Q = P_COUNTS / 20, Q_COUNTS / 20
REAL = np.repeat(np.arange(6), P_COUNTS)  # atoms of one batch of exact frequencies
FAKE = np.repeat(np.arange(6), Q_COUNTS)
LOG_P, LOG_Q = jnp.log(jnp.array(P, jnp.float32)), jnp.log(jnp.array(Q, jnp.float32))
JSD = (P * np.log(2 * P / (P + Q)) + Q * np.log(2 * Q / (P + Q))).sum() / 2
CHI2 = gan.least_squares(-1.0, 1.0, 0.0)


def logit(d):
    return np.log(d) - np.log1p(-d)


# loss, the critic that minimises it, and the least loss.
OPTIMA = {
    "minimax": (gan.LOSSES["minimax"], np.log(P / Q), 2 * np.log(2) - 2 * JSD),
    "non_saturating": (gan.LOSSES["non_saturating"], np.log(P / Q), 2 * np.log(2) - 2 * JSD),
    "least_squares": (gan.LOSSES["least_squares"], P / (P + Q), (P * Q / (P + Q)).sum() / 2),
    "least_squares(-1, 1, 0)": (CHI2, (P - Q) / (P + Q), 2 * (P * Q / (P + Q)).sum()),
    "hinge": (gan.LOSSES["hinge"], np.sign(P - Q), 2 - np.abs(P - Q).sum()),
    "smoothed .1": (gan.label_smoothed(gan.LOSSES["minimax"], 0.1), logit(0.9 * P / (P + Q)), None),
    # Some libraries subtract half of the smoothing from the label; theirs of .25 is this one of
    # .125.
    "smoothed .125": (
        gan.label_smoothed(gan.LOSSES["non_saturating"], 0.125),
        logit(0.875 * P / (P + Q)),
        None,
    ),
}


def discriminator_loss(loss, critic):
    """Of a table of critic values, one for each atom."""
    return loss.discriminator(critic[REAL], critic[FAKE])


@pytest.mark.parametrize("name", OPTIMA)
def test_the_optimal_critic_of_each_loss(name):
    loss, critic, least = OPTIMA[name]
    critic = jnp.asarray(critic, jnp.float32)
    at_optimum = discriminator_loss(loss, critic)
    if least is not None:
        np.testing.assert_allclose(at_optimum, least, rtol=1e-6)
    if name != "hinge":  # which has a kink there
        slope = jax.grad(lambda c: discriminator_loss(loss, c))(critic)
        np.testing.assert_allclose(slope, 0, atol=1e-7)
    # The losses are convex in the critic, so being lowest among neighbours is being the minimum.
    steps = np.random.default_rng(0).normal(size=(200, 6)) * np.geomspace(1e-2, 10, 200)[:, None]
    around = jax.vmap(lambda h: discriminator_loss(loss, critic + h))(steps.astype(np.float32))
    tied = 1e-6 if name != "hinge" else 2e-6
    assert np.all(around >= at_optimum - tied) and np.mean(around > at_optimum + 1e-5) > 0.9


def test_a_table_of_logits_trained_by_full_batches_reaches_log_p_over_q():
    gradient = jax.grad(lambda logits: discriminator_loss(gan.LOSSES["minimax"], logits))

    @jax.jit
    def train(logits):
        return jax.lax.fori_loop(0, 2000, lambda _, now: now - 10.0 * gradient(now), logits)

    np.testing.assert_allclose(train(jnp.zeros(6)), np.log(P / Q), atol=1e-5)


def test_unequal_numbers_of_real_and_fake_examples_do_not_move_the_optimum():
    """A mean over the concatenation would shift the logit by log(n_real / n_fake)."""
    slope = jax.grad(lambda c: gan.LOSSES["minimax"].discriminator(c[np.tile(REAL, 3)], c[FAKE]))
    np.testing.assert_allclose(slope(gan.optimal_logits(LOG_P, LOG_Q)), 0, atol=1e-7)


def test_value_at_the_optimum_is_twice_jsd_minus_two_log_two():
    best = gan.optimal_logits(LOG_P, LOG_Q)
    np.testing.assert_allclose(best, np.log(P / Q), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        gan.value(best[REAL], best[FAKE]), 2 * JSD - 2 * np.log(2), rtol=1e-6
    )
    np.testing.assert_allclose(
        gan.js_lower_bound(best[REAL], best[FAKE]), divergences.js(LOG_P, LOG_Q), rtol=1e-5
    )
    for seed in range(5):
        worse = best + np.random.default_rng(seed).normal(size=6).astype(np.float32)
        assert gan.js_lower_bound(worse[REAL], worse[FAKE]) < JSD


@pytest.mark.parametrize("epsilon", [0.01, 0.03])
def test_a_perturbed_discriminator_loses_the_predicted_value(epsilon):
    """V(l*) - V(l* + eps h) = eps^2 / 2 sum pq / (p + q) h^2 + O(eps^3)."""
    best, h = (
        gan.optimal_logits(LOG_P, LOG_Q),
        np.array([1.0, -2.0, 0.5, 1.5, -1.0, 2.0], np.float32),
    )
    second = jax.hessian(lambda t: gan.value((best + t * h)[REAL], (best + t * h)[FAKE]))(0.0)
    predicted = (P * Q / (P + Q) * h.astype(np.float64) ** 2).sum()
    np.testing.assert_allclose(-second, predicted, rtol=1e-5)
    moved = best + epsilon * h
    loss = gan.value(best[REAL], best[FAKE]) - gan.value(moved[REAL], moved[FAKE])
    np.testing.assert_allclose(loss, epsilon**2 / 2 * predicted, rtol=0.1, atol=2e-7)
    assert loss > 0


def test_optimal_logits_where_a_density_vanishes():
    log_p, log_q = jnp.array([0.0, -jnp.inf, -jnp.inf]), jnp.array([-jnp.inf, 0.0, -jnp.inf])
    np.testing.assert_array_equal(gan.optimal_logits(log_p, log_q), [np.inf, -np.inf, 0.0])


def test_pearson_chi_squared_of_least_squares():
    """2 C(G) = sum ((p + q) - 2 q)^2 / (p + q), where C(G) adds the data's half to the generator's
    loss."""
    critic = jnp.asarray(OPTIMA["least_squares(-1, 1, 0)"][1], jnp.float32)
    twice = 2 * (
        CHI2.generator(critic[REAL], critic[FAKE]) + CHI2.generator(critic[FAKE], critic[REAL])
    )
    np.testing.assert_allclose(twice, ((P - Q) ** 2 / (P + Q)).sum(), rtol=1e-6)


def test_an_unconstrained_wasserstein_critic_has_no_optimum():
    loss, critic = gan.LOSSES["wasserstein"], jnp.asarray(P - Q, jnp.float32)
    for size in (1.0, 10.0, 100.0):
        np.testing.assert_allclose(
            discriminator_loss(loss, size * critic), -size * ((P - Q) ** 2).sum(), rtol=1e-5
        )


@pytest.mark.parametrize("name", ["minimax", "non_saturating"])
def test_gradient_of_the_generator_at_the_optimal_discriminator(name):
    """With D frozen at D*: minimax follows 2 JSD (the envelope theorem), non-saturating KL(q || p)
    - 2 JSD.

    The second is Arjovsky and Bottou 2017, theorem 2.5.
    """
    start = jnp.asarray(np.random.default_rng(1).normal(size=6), jnp.float32)
    frozen = gan.optimal_logits(LOG_P, jax.nn.log_softmax(start))
    per_atom = jax.vmap(lambda logit: gan.LOSSES[name].generator(jnp.zeros(1), logit[None]))(frozen)

    def divergence(theta):
        log_q = jax.nn.log_softmax(theta)
        twice = 2 * divergences.js(LOG_P, log_q)
        return twice if name == "minimax" else divergences.kl(log_q, LOG_P) - twice

    got = jax.grad(lambda theta: jnp.sum(jax.nn.softmax(theta) * per_atom))(start)
    np.testing.assert_allclose(got, jax.grad(divergence)(start), atol=3e-7)

    # The same by finite differences in float64, so that no divergence of ours judges itself.
    def exact(theta):
        q = softmax(theta)
        twice = (P * np.log(2 * P / (P + q)) + q * np.log(2 * q / (P + q))).sum()
        return twice if name == "minimax" else (q * np.log(q / P)).sum() - twice

    theta = np.asarray(start, np.float64)
    differences = [(exact(theta + h) - exact(theta - h)) / 2e-5 for h in 1e-5 * np.eye(6)]
    np.testing.assert_allclose(got, differences, atol=3e-7)


X = jnp.linspace(-12, 12, 6001)
SPACING = 24 / 6000


LOG_WEIGHTS, MEANS, SCALES = (
    jnp.log(jnp.array([0.3, 0.7])),
    jnp.array([[-1.5], [1.0]]),
    jnp.array([0.5, 0.8]),
)


def log_data(x):
    return mixture.log_prob(x[:, None], LOG_WEIGHTS, MEANS, SCALES)


def test_value_of_two_known_densities():
    """The identity of theorem 1 for a mixture against N(.4, .7^2), each expectation by
    quadrature."""
    log_p, log_q = log_data(X), gaussian.log_prob(X, 0.4, 0.7)
    best = gan.optimal_logits(log_p, log_q)
    # A logit of -+1e4 on the other side makes its term exactly zero: one term at a time.
    log_d = jax.vmap(lambda logit: gan.value(logit[None], jnp.array([-1e4])))(best)
    log_not_d = jax.vmap(lambda logit: gan.value(jnp.array([1e4]), logit[None]))(best)
    got = jnp.sum(jnp.exp(log_p) * log_d + jnp.exp(log_q) * log_not_d) * SPACING
    expected = 2 * divergences.js_on_grid(log_p, log_q, SPACING) - 2 * np.log(2)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    p, q = np.exp(np.asarray(log_p, np.float64)), np.exp(np.asarray(log_q, np.float64))
    exact = (
        (p * np.log(2 * p / (p + q)) + q * np.log(2 * q / (p + q))).sum() * SPACING
    ) - 2 * np.log(2)
    np.testing.assert_allclose(got, exact, rtol=1e-5)


@pytest.mark.parametrize("name", ["minimax", "non_saturating"])
def test_pathwise_gradient_of_a_gaussian_generator_at_the_optimal_discriminator(name):
    """G(z) = theta + .7 z, the loss a mean over a batch of quantiles of z, the truth by
    quadrature."""
    z = jax.scipy.special.ndtri((jnp.arange(20_000) + 0.5) / 20_000)

    def generator_loss(theta):
        x = theta + 0.7 * z
        logits = gan.optimal_logits(log_data(x), gaussian.log_prob(x, 0.4, 0.7))
        return gan.LOSSES[name].generator(jnp.zeros(1), logits)

    def divergence(theta):
        log_p, log_q = log_data(X), gaussian.log_prob(X, theta, 0.7)
        twice = 2 * divergences.js_on_grid(log_p, log_q, SPACING)
        return twice if name == "minimax" else divergences.kl_on_grid(log_q, log_p, SPACING) - twice

    expected = jax.grad(divergence)(0.4)
    assert abs(expected) > 0.02
    np.testing.assert_allclose(jax.jit(jax.grad(generator_loss))(0.4), expected, rtol=5e-3)


def test_label_smoothing_moves_labels_of_real_examples_only():
    real, fake = jnp.array([-3.0, 0.5, 40.0]), jnp.array([-2.0, 1.0])
    d = 1 / (1 + np.exp(-np.asarray(real, np.float64)))
    by_labels = -(0.8 * np.log(d)[:2] + 0.2 * np.log(1 - d[:2])).sum() - (0.8 * 0.0 + 0.2 * -40.0)
    expected = by_labels / 3 + np.log1p(np.exp([-2.0, 1.0])).mean()
    smoothed = gan.label_smoothed(gan.LOSSES["non_saturating"], 0.2)
    np.testing.assert_allclose(smoothed.discriminator(real, fake), expected, rtol=1e-6)
    assert smoothed.generator is gan.LOSSES["non_saturating"].generator
    unsmoothed = gan.label_smoothed(gan.LOSSES["minimax"], 0.0)
    assert unsmoothed.discriminator(real, fake) == gan.LOSSES["minimax"].discriminator(real, fake)


def test_label_smoothing_refuses_what_has_no_labels():
    for name in ("least_squares", "hinge", "wasserstein"):
        with pytest.raises(ConfigError, match="cross-entropy"):
            gan.label_smoothed(gan.LOSSES[name], 0.1)
    for smoothing in (-0.1, 1.0):
        with pytest.raises(ConfigError, match=r"in \[0, 1\)"):
            gan.label_smoothed(gan.LOSSES["minimax"], smoothing)
