"""Transitions and annealed weights on Gaussians: invariance, unbiasedness in both directions, and
schedules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from dgm_jax.core import ConfigError, normal
from dgm_jax.densities import gaussian
from dgm_jax.likelihood import annealing, hmc

W = np.random.default_rng(7).normal(size=(5, 2))
COVARIANCE = W @ W.T + np.eye(5)
X = np.random.default_rng(8).normal(size=(100, 5))[:4] @ np.linalg.cholesky(COVARIANCE).T
LOG_P = multivariate_normal(np.zeros(5), COVARIANCE).logpdf(X)
ROWS = jnp.asarray(X, jnp.float32)


def log_prior(z):
    return jnp.sum(gaussian.log_prob(z, 0.0, 1.0), -1)


def log_likelihood(x, z):
    mean = jnp.einsum("nbd,pd->nbp", z, jnp.asarray(W, jnp.float32))
    return jnp.sum(gaussian.log_prob(x, mean, 1.0), -1)


PRIOR = annealing.from_prior(lambda key, n: normal(key, (n, 2)), log_prior, log_likelihood)


def proposal(key, x, n):
    return 0.3 * x[:, :2] + 0.8 * normal(key, (n, x.shape[0], 2))


ENCODER = annealing.from_proposal(
    proposal,
    lambda x, z: jnp.sum(gaussian.log_prob(z, 0.3 * x[:, :2], 0.8), -1),
    lambda x, z: log_prior(z) + log_likelihood(x, z),
)


def posterior(beta=1.0):
    """Means [4, 2] and covariance of prior * likelihood^beta."""
    covariance = np.linalg.inv(np.eye(2) + beta * W.T @ W)
    return beta * X @ W @ covariance, covariance


def draws_from_posterior(seed, num, beta=1.0):
    mean, covariance = posterior(beta)
    noise = np.random.default_rng(seed).multivariate_normal(np.zeros(2), covariance, (num, len(X)))
    return jnp.asarray(mean + noise, jnp.float32)


def test_a_transition_keeps_the_density_and_moves():
    num, beta = 40_000, 0.3

    def evaluate(z):
        return hmc.point(log_prior, lambda z: log_likelihood(ROWS, z), z)

    start = draws_from_posterior(0, num, beta)

    @jax.jit
    def run(key, z):
        return hmc.transition(
            key, evaluate(z), evaluate, jnp.float32(beta), jnp.array([0.3, 0.7, 1.1, 1.2]), 5
        )

    end, probability = run(jax.random.key(0), start)
    mean, covariance = posterior(beta)
    for row in range(len(X)):
        z = np.asarray(end.z[:, row])
        assert np.all(np.abs(z.mean(0) - mean[row]) < 4.5 * np.sqrt(np.diag(covariance) / num))
        np.testing.assert_allclose(
            np.cov(z.T), covariance, atol=4.5 * covariance.max() * np.sqrt(2 / num)
        )
    assert np.mean(
        np.any(np.asarray(end.z) != np.asarray(start), axis=-1), axis=0
    ) == pytest.approx(np.asarray(probability).mean(0), abs=0.02)
    # so the test sees rejections
    assert 0.05 < probability.mean(0)[3] < 0.9 < probability.mean(0)[0]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3), end, evaluate(end.z)
    )


def test_leapfrog_has_an_error_of_second_order_and_an_overflow_is_rejected():
    """Shares rejected: all at an unstable size, a quarter at half of a stable one."""
    z = jnp.full((1, 1, 1), 1.5)

    def evaluate(z):
        return hmc.point(lambda z: -jnp.sum(z**4, -1) / 4, lambda z: -jnp.sum(z**2, -1), z)

    def rejected(size, num):
        keys = jax.random.split(jax.random.key(1), 400)
        move = jax.jit(
            jax.vmap(
                lambda k: hmc.transition(k, evaluate(z), evaluate, 0.5, jnp.array([size]), num)[1]
            )
        )
        return float(jnp.mean(1 - move(keys)))

    assert rejected(3.0, 20) > 0.99  # overflows, and is rejected rather than NaN
    coarse, fine = rejected(0.2, 5), rejected(0.1, 10)
    assert 2.5 < coarse / fine < 6


@pytest.mark.parametrize(
    ("path", "schedule"), [(PRIOR, "linear"), (ENCODER, "sigmoid")], ids=["prior", "encoder"]
)
def test_weights_are_unbiased_forwards_and_backwards(path, schedule):
    """E[w] = p(x), and E[1 / w] = 1 / p(x) from exact posterior samples, with step sizes of a
    pilot.

    Backwards the first step away from the start, beta = 1 / T, has a finite variance only for T
    beyond the largest precision that the likelihood adds, here 4.4; the tail is heavy well beyond
    that.
    """
    settings = annealing.Settings(200, 4000, schedule, num_leapfrog=5)
    small = annealing.Settings(200, 32, schedule, num_leapfrog=5)

    @jax.jit
    def run(key, z):
        sizes = annealing.tune(jax.random.fold_in(key, 0), path, ROWS, small)
        forward = annealing.forward(jax.random.fold_in(key, 1), path, ROWS, sizes, settings)
        return (
            forward,
            annealing.reverse(jax.random.fold_in(key, 2), path, ROWS, z, sizes, settings),
            sizes,
        )

    forward, reverse, sizes = run(jax.random.key(2), draws_from_posterior(3, 4000))
    assert sizes.shape == (10, 4)
    for sign, found in ((1, forward), (-1, reverse)):
        ratio = np.exp(sign * (np.asarray(found.log_weights, np.float64) - LOG_P))
        assert np.all(np.abs(ratio.mean(0) - 1) < 4.5 * ratio.std(0) / np.sqrt(4000))
        assert np.all(ratio.std(0) > 0.05) and np.all(ratio.std(0) < 1)
        assert np.all((0.4 < found.acceptance) & (found.acceptance < 0.95))


def test_the_pilot_finds_the_scale_of_each_row():
    """Posteriors of width .01 and 1, one row each: step sizes two orders apart, and acceptance near
    the target."""
    width = jnp.array([0.01, 1.0])
    path = annealing.from_prior(
        lambda key, n: normal(key, (n, 3)),
        log_prior,
        lambda x, z: jnp.sum(gaussian.log_prob(x, z, width[:, None]), -1),
    )
    x = jnp.zeros((2, 3))
    settings = annealing.Settings(200, 32)
    sizes = jax.jit(lambda k: annealing.tune(k, path, x, settings))(jax.random.key(3))
    assert sizes[-1, 1] / sizes[-1, 0] > 20
    found = jax.jit(lambda k: annealing.forward(k, path, x, sizes, settings))(jax.random.key(4))
    np.testing.assert_allclose(found.acceptance, 0.65, atol=0.2)


def test_one_step_is_importance_sampling_from_the_start():
    settings = annealing.Settings(1, 50)
    key = jax.random.key(5)
    for path in (PRIOR, ENCODER):
        found = annealing.forward(key, path, ROWS, jnp.ones((10, 4)), settings)
        z = path.sample(jax.random.split(key)[0], ROWS, 50)
        expected = log_prior(z) + log_likelihood(ROWS, z) - path.log_prob(ROWS, z)
        np.testing.assert_allclose(found.log_weights, expected, rtol=1e-4, atol=1e-4)
        assert found.acceptance is None  # there was no transition


def test_no_rounding_over_thousands_of_steps():
    """A log-ratio that is -1234.567 everywhere: the increments of 5000 steps add up to it, in
    float32."""
    path = annealing.Path(
        lambda key, x, n: normal(key, (n, x.shape[0], 1)),
        lambda x, z: log_prior(z),
        lambda x, z: -1234.567 + 0 * z[..., 0],
    )
    settings = annealing.Settings(5000, 2, num_leapfrog=1)
    run = jax.jit(
        lambda k: annealing.forward(k, path, jnp.zeros((1, 1)), jnp.ones((10, 1)), settings)
    )
    np.testing.assert_allclose(run(jax.random.key(6)).log_weights, -1234.567, rtol=3e-7)


def test_where_the_likelihood_is_zero_the_weight_is_zero():
    """Half of the starts have no likelihood: p(x) is 1/2, and nothing is NaN."""
    path = annealing.from_prior(
        lambda key, n: normal(key, (n, 1)),
        log_prior,
        lambda x, z: jnp.where(z[..., 0] > 0, 0.0, -jnp.inf),
    )
    found = jax.jit(
        lambda k: annealing.forward(
            k, path, jnp.zeros((2, 1)), jnp.full((10, 2), 0.5), annealing.Settings(5, 4000)
        )
    )
    log_weights = np.asarray(found(jax.random.key(7)).log_weights)
    assert not np.isnan(log_weights).any()
    np.testing.assert_allclose(np.exp(log_weights).mean(0), 0.5, atol=0.04)


@pytest.mark.parametrize("name", annealing.SCHEDULES)
def test_schedules_rise_from_zero_to_one_symmetrically(name):
    for num in (1, 2, 7, 100):
        beta = annealing.SCHEDULES[name](num)
        assert beta.shape == (num + 1,) and beta[0] == 0 and beta[-1] == pytest.approx(1, abs=1e-15)
        assert np.all(np.diff(beta) > 0)
        np.testing.assert_allclose(beta + beta[::-1], 1, atol=1e-12)
    ends, middle = np.diff(annealing.sigmoid(100))[[0, 50]]
    # slopes of a logistic at 0 and 4
    assert middle / ends == pytest.approx(0.25 / 0.0181, rel=0.05)


def test_settings_that_no_run_could_use_are_named():
    for wrong, told in (
        ({"schedule": "lineer"}, "did you mean 'linear'"),
        ({"num_steps": 0}, "num_steps must be at least 1, got 0"),
        ({"target": 1.0}, "target"),
        ({"step_size": 0.0}, "step_size"),
        ({"num_chains": 0}, "num_chains"),
    ):
        with pytest.raises(ConfigError, match=told):
            annealing.Settings(**wrong)
    with pytest.raises(ConfigError, match="radius"):
        annealing.sigmoid(5, 0.0)


def test_vmap_over_keys_is_one_key_at_a_time():
    """In float64, where rounding does not turn an acceptance round; both densities are of the
    data's own type."""
    with jax.enable_x64(True):
        x = jnp.asarray(X[:, :1])
        path = annealing.from_prior(
            lambda key, n: normal(key, (n, 1), jnp.float64),
            log_prior,
            lambda x, z: jnp.sum(gaussian.log_prob(x, 2 * z, 0.5), -1),
        )
        settings = annealing.Settings(20, 3, num_leapfrog=4, num_pilot=4, num_knots=3)

        def run(key):
            return annealing.forward(key, path, x, annealing.tune(key, path, x, settings), settings)

        keys = jax.random.split(jax.random.key(8), 3)
        together = jax.jit(jax.vmap(run))(keys)
        assert together.log_weights.dtype == jnp.float64 and together.log_weights.shape == (3, 3, 4)
        for i in range(3):
            jax.tree.map(
                lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-9),
                together,
                jax.jit(run)(keys[i]),
            )
