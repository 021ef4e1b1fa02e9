"""Mixtures of Gaussians against scipy; and likelihood against sample quality, which they show to be
two things."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from dgm_jax.core import ConfigError
from dgm_jax.densities import mixture

WEIGHTS = np.array([0.2, 0.5, 0.3])
LOG_WEIGHTS = jnp.log(jnp.asarray(WEIGHTS, jnp.float32))
MEANS = np.array([[0.0, 0.0], [3.0, -1.0], [-2.0, 2.0]], np.float32)
SCALES = {
    "shared": 0.7,
    "isotropic": np.array([0.5, 1.0, 0.3], np.float32),
    "diagonal": np.array([[0.5, 1.0], [0.2, 0.9], [1.5, 0.4]], np.float32),
}
log_prob = jax.jit(mixture.log_prob)
families = pytest.mark.parametrize("family", SCALES)


def full_scales(family):
    scales = np.asarray(SCALES[family], np.float64)
    return np.broadcast_to(scales if scales.ndim != 1 else scales[:, None], (3, 2))


def scipy_log_prob(x, family):
    parts = [
        np.log(w) + stats.multivariate_normal.logpdf(x, mean, np.diag(scale**2))
        for w, mean, scale in zip(WEIGHTS, MEANS, full_scales(family), strict=True)
    ]
    return logsumexp(parts, axis=0)


@families
@pytest.mark.parametrize("transform", [lambda fn: fn, jax.jit], ids=["eager", "jit"])
def test_log_prob_equals_scipy(family, transform):
    x = np.random.default_rng(0).normal(size=(4, 5, 2)).astype(np.float32) * 4
    got = transform(mixture.log_prob)(x, LOG_WEIGHTS, MEANS, SCALES[family])
    assert got.shape == (4, 5)
    np.testing.assert_allclose(got, scipy_log_prob(x, family), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        mixture.log_prob(x[0, 0], LOG_WEIGHTS, MEANS, SCALES[family]), got[0, 0], rtol=1e-5
    )


@families
def test_the_density_integrates_to_one(family):
    axis = jnp.linspace(-9, 9, 361)
    points = jnp.stack(jnp.meshgrid(axis, axis), -1)
    mass = jnp.exp(log_prob(points, LOG_WEIGHTS, MEANS, SCALES[family])).sum() * 0.05**2
    np.testing.assert_allclose(mass, 1, rtol=1e-4)


def test_tails_and_switched_off_components():
    far = jnp.array([[1e4, -1e4]])
    np.testing.assert_allclose(
        log_prob(far, LOG_WEIGHTS, MEANS, 0.7),
        scipy_log_prob(np.array([[1e4, -1e4]]), "shared"),
        rtol=1e-5,
    )
    gradient = jax.jit(jax.grad(mixture.log_prob))(far[0], LOG_WEIGHTS, MEANS, 0.7)
    assert np.isfinite(gradient).all()
    off = jnp.array([-jnp.inf, 0.0, -jnp.inf])
    x = jnp.array([1.0, 1.0])
    alone = stats.multivariate_normal.logpdf(np.ones(2), MEANS[1], 0.49 * np.eye(2))
    np.testing.assert_allclose(log_prob(x, off, MEANS, 0.7), alone, rtol=1e-5)
    to_x, to_means = jax.jit(jax.grad(mixture.log_prob, (0, 2)))(x, off, MEANS, 0.7)
    np.testing.assert_allclose(to_x, (MEANS[1] - 1) / 0.49, rtol=1e-5)
    np.testing.assert_allclose(to_means, [[0, 0], (1 - MEANS[1]) / 0.49, [0, 0]], rtol=1e-5)


def test_responsibilities_are_the_gradient_in_the_log_weights():
    x = jnp.array([1.0, -0.5])
    parts = LOG_WEIGHTS + mixture.component_log_prob(x, MEANS, SCALES["isotropic"])
    assert parts.shape == (3,)
    gradient = jax.grad(mixture.log_prob, 1)(x, LOG_WEIGHTS, MEANS, SCALES["isotropic"])
    np.testing.assert_allclose(gradient, jax.nn.softmax(parts), rtol=1e-5)


@families
def test_samples_follow_the_mixture(family):
    n = 20_000
    x, component = mixture.sample(jax.random.key(0), n, LOG_WEIGHTS, MEANS, SCALES[family])
    x, component = np.asarray(x), np.asarray(component)
    assert x.shape == (n, 2) and component.dtype == np.int32
    assert stats.chisquare(np.bincount(component, minlength=3), n * WEIGHTS).pvalue > 1e-3
    for k, scale in enumerate(full_scales(family)):
        for axis in range(2):
            part = x[component == k, axis]
            assert stats.kstest(part, stats.norm(MEANS[k, axis], scale[axis]).cdf).pvalue > 1e-3


def test_components_without_weight_are_never_drawn():
    log_weights = jnp.log(jnp.array([0.0, 0.25, 0.0, 0.75, 0.0]))
    draw = jax.jit(
        lambda key: mixture.sample(key, 100_000, log_weights, jnp.zeros((5, 1)), 1.0).component
    )
    assert set(np.unique(draw(jax.random.key(3)))) == {1, 3}


def test_draws_on_the_edges_of_the_table_fall_on_components_with_weight(monkeypatch):
    """u = 0 must not pick a leading component of weight 0, nor the largest u < 1 a trailing one."""
    edges = jnp.array([0.0, 0.25, 1 - 2.0**-24])
    monkeypatch.setattr(mixture, "uniform", lambda key, shape, dtype: edges)
    log_weights = jnp.log(jnp.array([0.0, 0.25, 0.0, 0.75, 0.0]))
    drawn = mixture.sample(jax.random.key(0), 3, log_weights, jnp.zeros((5, 1)), 1.0).component
    np.testing.assert_array_equal(drawn, [1, 3, 3])


def test_samples_differentiate_in_means_and_scales():
    def total(means, scales):
        return mixture.sample(jax.random.key(0), 50, LOG_WEIGHTS, means, scales).x.sum()

    drawn = mixture.sample(jax.random.key(0), 50, LOG_WEIGHTS, MEANS, SCALES["diagonal"])
    to_means, to_scales = jax.grad(total, (0, 1))(
        jnp.asarray(MEANS), jnp.asarray(SCALES["diagonal"])
    )
    counts = np.bincount(np.asarray(drawn.component), minlength=3)
    np.testing.assert_allclose(to_means, np.stack([counts, counts], -1), rtol=1e-6)
    noise = (np.asarray(drawn.x) - MEANS[drawn.component]) / SCALES["diagonal"][drawn.component]
    np.testing.assert_allclose(
        to_scales, [noise[drawn.component == k].sum(0) for k in range(3)], rtol=1e-3, atol=1e-3
    )


def test_wrong_shapes_are_named():
    with pytest.raises(ConfigError, match="2 dimensions"):
        mixture.log_prob(jnp.zeros((4, 3)), LOG_WEIGHTS, MEANS, 1.0)
    with pytest.raises(
        ConfigError, match=r"scales must be a scalar, \[3\] or \[3, 2\]; got \(2,\)"
    ):
        mixture.log_prob(jnp.zeros(2), LOG_WEIGHTS, MEANS, jnp.ones(2))
    with pytest.raises(ConfigError, match=r"log_weights must be \[3\]"):
        mixture.sample(jax.random.key(0), 3, LOG_WEIGHTS[:2], MEANS, 1.0)
    with pytest.raises(ConfigError, match=r"means must be \[K, D\]"):
        mixture.sample(jax.random.key(0), 3, LOG_WEIGHTS, MEANS[0], 1.0)


@pytest.mark.parametrize("dim", [1, 10, 1000])
def test_great_likelihood_with_poor_samples(dim):
    """q = .01 p + .99 junk: at most log 100 = 4.605 nats below p at any point and in any dimension,
    99 % junk.

    Theis et al. 2016, "A note on the evaluation of generative models", section 3.2.
    """
    p_mean, junk_mean = np.zeros((1, dim), np.float32), np.full((1, dim), 20, np.float32)
    means, scales = np.concatenate([p_mean, junk_mean]), np.array([1.0, 5.0], np.float32)
    log_weights = jnp.log(jnp.array([0.01, 0.99]))
    test_set = np.random.default_rng(0).normal(size=(200, dim)).astype(np.float32)
    log_p = log_prob(test_set, jnp.zeros(1), p_mean, 1.0)
    log_q = log_prob(test_set, log_weights, means, scales)
    # float32 at 1,400 nats has a spacing of 1.2e-4.
    assert np.all(log_q >= log_p - np.log(100) - 1e-3)
    if dim > 1:  # in one dimension the junk, 4 standard deviations off, adds a little of its own
        np.testing.assert_allclose(log_p - log_q, np.log(100), atol=2e-3)
    component = mixture.sample(jax.random.key(0), 5000, log_weights, means, scales).component
    assert abs(np.mean(np.asarray(component) == 1) - 0.99) < 5 * np.sqrt(0.99 * 0.01 / 5000)


def test_perfect_samples_with_poor_likelihood():
    """Narrow Gaussians on the training points: samples repeat the data, while the test likelihood
    falls without end."""
    data = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    train, test = data[:50], data[50:]
    uniform = jnp.full((50,), -jnp.log(50.0))
    widths = (0.1, 1e-2, 1e-3)
    on_train = [float(log_prob(train, uniform, train, w).mean()) for w in widths]
    on_test = [float(log_prob(test, uniform, train, w).mean()) for w in widths]
    assert on_train[0] < on_train[1] < on_train[2] and on_test[0] > on_test[1] > on_test[2]
    # At 1e-3 a training point sees its own Gaussian alone: -log 50 - log(2 pi) + 2 log(1000).
    np.testing.assert_allclose(
        on_train[2], -np.log(50) - np.log(2 * np.pi) + 2 * np.log(1000), rtol=1e-3
    )
    assert on_test[2] < -1000
    x, component = mixture.sample(jax.random.key(0), 1000, uniform, train, 1e-3)
    np.testing.assert_allclose(x, train[component], atol=6e-3)
