"""The ladder on a linear-Gaussian model with known log p(x): W from seed 7, 100 points from seed 8,
d = 2, D = 5."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from dgm_jax import likelihood
from dgm_jax.core import ConfigError, normal
from dgm_jax.densities import gaussian
from dgm_jax.objectives import iwae

NOISE = 0.5
W = np.random.default_rng(7).normal(size=(5, 2))
COVARIANCE = W @ W.T + NOISE**2 * np.eye(5)
X = np.random.default_rng(8).normal(size=(100, 5)) @ np.linalg.cholesky(COVARIANCE).T
LAW = multivariate_normal(np.zeros(5), COVARIANCE)
LOG_P = LAW.logpdf(X)
PRECISION = np.eye(2) + W.T @ W / NOISE**2
POSTERIOR = np.linalg.inv(PRECISION)
MEANS = X @ W @ POSTERIOR / NOISE**2
ROWS = jnp.asarray(X, jnp.float32)
TO_MEAN = jnp.asarray(W @ POSTERIOR / NOISE**2, jnp.float32)


def log_prior(z):
    return jnp.sum(gaussian.log_prob(z, 0.0, 1.0), -1)


def log_likelihood(x, z):
    mean = jnp.einsum("nbd,pd->nbp", z, jnp.asarray(W, jnp.float32))
    return jnp.sum(gaussian.log_prob(x, mean, NOISE), -1)


def log_joint(x, z):
    return log_prior(z) + log_likelihood(x, z)


def encoder(root):
    """q(z | x) = N(the exact mean, root root^T), root [2, 2] lower triangular."""
    root = jnp.asarray(root, jnp.float32)
    inverse = jnp.linalg.inv(root)

    def log_prob(x, z):
        return log_prior((z - x @ TO_MEAN) @ inverse.T) + jnp.sum(jnp.log(jnp.diagonal(inverse)))

    def sample(key, x, n):
        return x @ TO_MEAN + normal(key, (n, x.shape[0], 2)) @ root.T

    return likelihood.from_proposal(sample, log_prob, log_joint)


PRIOR = likelihood.from_prior(lambda key, n: normal(key, (n, 2)), log_prior, log_likelihood)
MEAN_FIELD = encoder(np.diag(1 / np.sqrt(np.diag(PRECISION))))
EXACT = encoder(np.linalg.cholesky(POSTERIOR))


def simulated(num, seed=3):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(num, 2))
    x = z @ W.T + NOISE * rng.normal(size=(num, 5))
    return jnp.asarray(x, jnp.float32), jnp.asarray(z, jnp.float32), LAW.logpdf(x)


def test_the_model_has_its_known_log_p():
    np.testing.assert_allclose(LOG_P.mean(), -5.4718744, atol=1e-7)


def test_the_elbo_of_the_best_mean_field_posterior():
    """Its gap is KL(q || posterior) = log(sqrt(det of the diagonal / det)) = .2153250 for every
    x."""
    found = jax.jit(
        lambda key: likelihood.evidence_lower_bound(key, MEAN_FIELD, ROWS, 4000, batch_size=30)
    )(jax.random.key(0))
    gap = found.log_prob - LOG_P
    assert np.all(np.abs(gap + 0.2153250) < 4.5 * np.asarray(found.standard_error))
    mean = likelihood.average(found)
    assert abs(mean.mean - -5.6871994) < 4 * mean.monte_carlo_error
    assert mean.monte_carlo_error < 0.005


def test_the_standard_error_of_the_elbo_is_that_of_its_draws():
    run = jax.jit(
        jax.vmap(
            lambda key: likelihood.evidence_lower_bound(
                key, MEAN_FIELD, ROWS[:3], 12, samples_at_once=4
            )
        )
    )
    found = run(jax.random.split(jax.random.key(1), 4000))
    np.testing.assert_allclose(
        np.std(found.log_prob, axis=0), np.sqrt(np.mean(found.standard_error**2, axis=0)), rtol=0.06
    )
    weights = [
        MEAN_FIELD.log_ratio(
            ROWS[:3],
            MEAN_FIELD.sample(
                jax.random.fold_in(jax.random.fold_in(jax.random.key(2), 0), i), ROWS[:3], 4
            ),
        )
        for i in range(3)
    ]
    one = likelihood.evidence_lower_bound(
        jax.random.key(2), MEAN_FIELD, ROWS[:3], 12, samples_at_once=4
    )
    weights = np.concatenate(weights)
    np.testing.assert_allclose(one.log_prob, weights.mean(0), rtol=1e-5)
    np.testing.assert_allclose(one.standard_error, weights.std(0, ddof=1) / np.sqrt(12), rtol=1e-4)


def test_importance_weighted_bounds_rise_with_k():
    """Expected gaps -.2153 (K = 1), -.1369 (2), -.0191 (50) with the mean-field posterior, within 4
    standard errors."""
    log_weights = jax.jit(
        lambda key: MEAN_FIELD.log_ratio(ROWS, MEAN_FIELD.sample(key, ROWS, 2000))
    )(jax.random.key(3))
    log_weights, means = jnp.asarray(log_weights) - jnp.asarray(LOG_P, jnp.float32), []
    for k, expected in ((1, -0.2153), (2, -0.1369), (50, -0.0191)):
        gaps = np.asarray(iwae.bound(log_weights.reshape(2000 // k, k, 100).swapaxes(0, 1)))
        means.append(gaps.mean())
        # The published gaps have errors of about .0013 of their own.
        assert abs(gaps.mean() - expected) < 4 * np.hypot(gaps.std() / np.sqrt(gaps.size), 0.0013)
    assert means[0] < means[1] < means[2] < 0.002


def test_with_the_exact_posterior_every_rung_is_exact_without_variance():
    run = jax.jit(
        lambda key: likelihood.ladder(
            key,
            EXACT,
            ROWS,
            num_samples=20,
            settings=likelihood.Settings(5, 4, num_leapfrog=2),
            batch_size=40,
        )
    )
    found = run(jax.random.key(4))
    assert found.sandwich is None
    for rung in (found.elbo, found.importance_weighted, found.annealed):
        np.testing.assert_allclose(rung.log_prob, LOG_P, rtol=3e-5)
        np.testing.assert_allclose(rung.standard_error, 0, atol=2e-3)
    np.testing.assert_allclose(found.importance_weighted.effective_sample_size, 20, rtol=1e-3)
    np.testing.assert_allclose(found.annealed.effective_sample_size, 4, rtol=1e-3)


def test_annealing_closes_the_gap():
    """From the prior: the errors fall with T, each is within 4 standard errors of a gap that is not
    positive."""
    sizes, gaps = [], []
    for num_steps in (1, 10, 100, 1000):
        settings = likelihood.Settings(num_steps)
        found = jax.jit(
            lambda key, s=settings: likelihood.annealed_importance_sampling(key, PRIOR, ROWS, s)
        )(jax.random.key(5))
        error = float(likelihood.average(found).monte_carlo_error)
        gaps.append(float(jnp.mean(found.log_prob)) - LOG_P.mean())
        sizes.append(float(found.effective_sample_size.mean()))
        assert gaps[-1] < 4 * error
        if num_steps > 1:
            np.testing.assert_allclose(found.acceptance.mean(), 0.7, atol=0.05)
            np.testing.assert_allclose(found.acceptance, 0.7, atol=0.25)
    assert gaps[0] < -0.15  # importance sampling from the prior with 16 draws
    assert abs(gaps[3]) < 4 * error and error < 0.01
    np.testing.assert_allclose(sizes[1:], [6.3, 10.6, 14.4], atol=1.5)
    assert sizes[0] < sizes[1]


def test_standard_errors_over_chains_are_honest():
    """Row by row over 60 keys: the spread of the estimate is what it says of itself."""
    settings = likelihood.Settings(100, num_leapfrog=5)
    run = jax.jit(
        jax.vmap(
            lambda key: likelihood.annealed_importance_sampling(key, PRIOR, ROWS[:10], settings)
        )
    )
    found = run(jax.random.split(jax.random.key(6), 60))
    spread = np.std(found.log_prob, axis=0, ddof=1)
    said = np.sqrt(np.mean(found.standard_error**2, axis=0))
    np.testing.assert_allclose(np.mean(spread**2), np.mean(said**2), rtol=0.3)


def test_the_sandwich_holds_the_truth_and_closes():
    x, z, log_p = simulated(100)
    widths = []
    for num_steps in (10, 100, 1000):
        settings = likelihood.Settings(num_steps)
        run = jax.jit(
            lambda key, s=settings: likelihood.bidirectional(key, PRIOR, x, z, s, batch_size=64)
        )
        lower, upper = run(jax.random.key(7))
        sides = [np.asarray(side.log_prob) - log_p for side in (lower, upper)]
        errors = [side.std(ddof=1) / 10 for side in sides]
        assert sides[0].mean() < 4 * errors[0] and sides[1].mean() > -4 * errors[1]
        widths.append(sides[1].mean() - sides[0].mean())
    assert widths[0] > 0.3 and abs(widths[1]) < 0.12 and abs(widths[2]) < 0.05
    assert abs(sides[0].mean()) < 0.04 and abs(sides[1].mean()) < 0.04


def test_one_call_climbs_the_ladder():
    """Encoder for the first rungs, annealing from the prior, simulated data; uneven groups; vmapped
    over keys."""
    x, z, _ = simulated(5)

    def run(key):
        return likelihood.ladder(
            key,
            MEAN_FIELD,
            ROWS[:7],
            num_samples=200,
            settings=likelihood.Settings(50, 8),
            batch_size=3,
            annealing_path=PRIOR,
            simulated=(x, z),
        )

    keys = jax.random.split(jax.random.key(8), 2)
    found = jax.jit(jax.vmap(run))(keys)
    assert found.elbo.log_prob.shape == (2, 7) and found.sandwich.upper.log_prob.shape == (2, 5)
    alone = jax.jit(run)(keys[1])
    np.testing.assert_allclose(
        found.importance_weighted.log_prob[1], alone.importance_weighted.log_prob, rtol=1e-4
    )
    assert found.elbo.acceptance is None and found.annealed.acceptance.shape == (2, 7)
    for rung in (found.importance_weighted, found.annealed):
        assert np.all(np.abs(rung.log_prob - LOG_P[:7]) < 5 * np.asarray(rung.standard_error) + 0.2)
    assert np.all(found.elbo.log_prob < LOG_P[:7])


@pytest.mark.optimized
def test_memory_does_not_grow_with_the_number_of_steps():
    def temporary(num_steps):
        settings = likelihood.Settings(num_steps)
        run = jax.jit(
            lambda key, x: likelihood.annealed_importance_sampling(key, PRIOR, x, settings)
        )
        return (
            run.lower(jax.random.key(0), jnp.zeros((100, 5)))
            .compile()
            .memory_analysis()
            .temp_size_in_bytes
        )

    # the schedule itself: a few numbers a step
    assert temporary(20_000) - temporary(100) <= 20_000 * 3 * 4 * 2


def test_jackknife_removes_the_first_order_bias():
    """Of log-normal weights, log E w = 1/2; by hand for three weights."""
    log_weights = jnp.asarray(np.random.default_rng(9).normal(size=(16, 100_000)), jnp.float32)
    plain, better = iwae.bound(log_weights), likelihood.jackknife(log_weights)
    error = float(better.std() / np.sqrt(100_000))
    assert plain.mean() - 0.5 < -0.03
    assert abs(better.mean() - 0.5) < 0.02 + 4 * error and abs(better.mean() - 0.5) < 0.5 * abs(
        plain.mean() - 0.5
    )
    w = np.array([0.2, 1.0, 3.0])
    others = [np.log((w.sum() - one) / 2) for one in w]
    expected = 3 * np.log(w.mean()) - 2 * np.mean(others)
    np.testing.assert_allclose(likelihood.jackknife(jnp.log(jnp.asarray(w))), expected, rtol=1e-5)
    far = jnp.array([0.0, -200.0, -400.0])
    np.testing.assert_allclose(
        likelihood.jackknife(far), -3 * np.log(3) - 2 * (np.log(0.5) * 3 - 200) / 3, rtol=1e-5
    )


@pytest.mark.parametrize("level", [0.0, -236.3, -20_000.3])
def test_jackknife_at_the_level_of_images(level):
    """A common factor of the weights comes out of the logarithm: nothing is left of S times its
    rounding."""
    log_weights = np.random.default_rng(3).normal(size=(1000, 4))
    shifted = np.float32(log_weights + level)
    w = np.exp(np.float64(shifted) - level)
    others = np.log((w.sum(0) - w) / 999).mean(0)
    expected = level + 1000 * np.log(w.mean(0)) - 999 * others
    np.testing.assert_allclose(
        likelihood.jackknife(jnp.asarray(shifted)), expected, atol=0.003 + 2e-7 * abs(level)
    )


def test_the_alarm_sounds_for_a_bound_above_the_estimate():
    rng = np.random.default_rng(10)
    independent = likelihood.LogProbEstimate(jnp.asarray(LOG_P, jnp.float32), jnp.full(100, 0.02))
    noise = rng.normal(size=100)
    good = likelihood.overstated(jnp.asarray(LOG_P - 0.2 + 0.5 * noise, jnp.float32), independent)
    bad = likelihood.overstated(jnp.asarray(LOG_P + 0.4 + 0.5 * noise, jnp.float32), independent)
    assert not good.flag and good.excess < 0 and bad.flag
    np.testing.assert_allclose(bad.excess, 0.4 + 0.5 * noise.mean(), atol=1e-5)
    np.testing.assert_allclose(bad.z_score, bad.excess / (0.05 * noise.std(ddof=1)), rtol=1e-3)
    level = likelihood.overstated(
        jnp.asarray(LOG_P + 0.01, jnp.float32), independent, standard_error=jnp.full(100, 0.02)
    )
    np.testing.assert_allclose(level.z_score, 0.01 / (np.sqrt(2) * 0.02 / 10), rtol=1e-3)
    assert (
        level.flag
        and not likelihood.overstated(
            jnp.asarray(LOG_P + 0.01, jnp.float32), independent, standard_error=jnp.full(100, 0.05)
        ).flag
    )
    false_alarms = jax.vmap(lambda b: likelihood.overstated(b, independent).flag)(
        jnp.asarray(LOG_P + rng.normal(size=(2000, 100)), jnp.float32)
    )
    assert false_alarms.mean() < 0.008  # 3 standard errors, one side: .00135


def test_errors_of_the_average_are_kept_apart():
    got = likelihood.average(
        likelihood.LogProbEstimate(jnp.array([1.0, 2.0, 6.0]), jnp.array([0.3, 0.0, 0.4]))
    )
    np.testing.assert_allclose(
        got, [3.0, np.std([1, 2, 6], ddof=1) / np.sqrt(3), 0.5 / 3], rtol=1e-6
    )


def test_bits_per_dimension_of_levels_and_of_dequantised_levels():
    """256 levels with the law of a rounded normal: E_u log p(x + u) <= log P(x), both sums
    exact."""
    edges = np.arange(257.0)
    mass = np.diff(norm.cdf(edges, 100, 20))
    mass /= mass.sum()
    fine = (np.arange(256 * 64) + 0.5) / 64
    dequantised = norm.logpdf(fine, 100, 20).reshape(256, 64).mean(1)
    discrete, continuous = mass @ np.log(mass), mass @ dequantised
    assert continuous < discrete
    np.testing.assert_allclose(
        likelihood.bits_per_dimension(-discrete, 1), -(mass @ np.log2(mass)), rtol=1e-6
    )
    np.testing.assert_allclose(likelihood.bits_per_dimension(np.log(256) * 12, 12), 8.0, rtol=1e-6)


def test_input_that_does_not_fit_is_named():
    key = jax.random.key(0)
    with pytest.raises(ConfigError, match="num_samples must be at least 2, got 1"):
        likelihood.evidence_lower_bound(key, PRIOR, ROWS, 1)
    with pytest.raises(ConfigError, match="samples_at_once must be at least 1, got 0"):
        likelihood.evidence_lower_bound(key, PRIOR, ROWS, 10, samples_at_once=0)
    with pytest.raises(ConfigError, match="multiple"):
        likelihood.evidence_lower_bound(key, PRIOR, ROWS, 15)
    with pytest.raises(ConfigError, match="batch_size"):
        likelihood.annealed_importance_sampling(key, PRIOR, ROWS, batch_size=0)
    with pytest.raises(ConfigError, match="at least one row"):
        likelihood.annealed_importance_sampling(key, PRIOR, ROWS[:0])
    with pytest.raises(ConfigError, match="as many rows"):
        likelihood.bidirectional(key, PRIOR, ROWS, jnp.zeros((3, 2)))
    with pytest.raises(ConfigError, match="S at least 2"):
        likelihood.jackknife(jnp.zeros((1, 3)))
    with pytest.raises(ConfigError, match=r"must both be \[N\]"):
        likelihood.overstated(jnp.zeros(3), likelihood.LogProbEstimate(jnp.zeros(4), jnp.zeros(4)))
    with pytest.raises(ConfigError, match="one example"):
        likelihood.overstated(jnp.zeros(1), likelihood.LogProbEstimate(jnp.zeros(1), jnp.zeros(1)))
