"""The Concrete density: normalisation, agreement with samples, boundary."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from dgm_jax import sampling
from dgm_jax.core import ConfigError
from dgm_jax.densities import concrete

KEY = jax.random.key(6)


def simplex_density(y, logits, temperature):
    """The density of (y_1..y_{K-1}) as Maddison et al. (2017) print it (eq. 10), in float64."""
    y, alpha, n = np.asarray(y, np.float64), np.exp(np.asarray(logits, np.float64)), len(logits)
    factorial = float(np.prod(np.arange(1, n)))
    terms = alpha * y ** (-temperature - 1) / np.sum(alpha * y**-temperature, -1, keepdims=True)
    return factorial * temperature ** (n - 1) * np.prod(terms, -1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_it_is_the_printed_density_times_the_change_of_variables(num_classes, temperature):
    rng = np.random.default_rng(num_classes)
    y, logits = rng.dirichlet(np.ones(num_classes), size=50), rng.normal(size=num_classes)
    got = jax.jit(concrete.log_prob)(jnp.log(y), jnp.asarray(logits), temperature)
    assert got.shape == (50,) and got.dtype == jnp.float32
    expected = np.log(simplex_density(y, logits, temperature)) + np.log(y).sum(-1)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("temperature", [0.2, 0.7, 3.0])
def test_it_integrates_to_one_for_two_classes(temperature):
    """Over log y_1 - log y_2, where the law is logistic of scale 1 / temperature."""
    logits = jnp.array([0.8, -0.4])
    density = jax.jit(
        lambda d: jnp.exp(
            concrete.log_prob(
                jax.nn.log_softmax(jnp.stack([d, jnp.zeros_like(d)], -1)), logits, temperature
            )
        )
    )
    grid = np.linspace(-1, 1, 20_001) * 40 / temperature
    values = np.asarray(density(jnp.asarray(grid)), np.float64)
    assert abs(integrate.simpson(values, x=grid) - 1) < 1e-5
    logistic = stats.logistic(1.2 / temperature, 1 / temperature)
    np.testing.assert_allclose(values, logistic.pdf(grid), rtol=2e-3, atol=1e-6)


def test_it_integrates_to_one_for_three_classes():
    logits, temperature = jnp.array([0.5, -0.3, 0.0]), 0.8
    axis = np.linspace(-40, 40, 801)
    first, second = np.meshgrid(axis, axis, indexing="ij")
    log_y = jax.nn.log_softmax(
        jnp.asarray(np.stack([first, second, np.zeros_like(first)], -1)), axis=-1
    )
    values = np.asarray(jnp.exp(jax.jit(concrete.log_prob)(log_y, logits, temperature)), np.float64)
    assert abs(integrate.simpson(integrate.simpson(values, x=axis), x=axis) - 1) < 1e-4


def test_samples_have_this_density():
    """Counts of draws in cells of (log y_1 - log y_3, log y_2 - log y_3) against the integral of
    the density."""
    logits, temperature, num = jnp.array([0.5, -0.3, 0.0]), 0.8, 100_000
    log_y = sampling.log_gumbel_softmax(KEY, jnp.broadcast_to(logits, (num, 3)), temperature)
    points = np.asarray(log_y[:, :2] - log_y[:, 2:])
    edges = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 3.0])
    counts = np.histogram2d(*points.T, bins=(edges, edges))[0].ravel()
    fine = np.linspace(-2, 3, 501)
    middle = (fine[1:] + fine[:-1]) / 2
    grid = np.stack([*np.meshgrid(middle, middle, indexing="ij"), np.zeros((500, 500))], -1)
    density = np.exp(
        np.asarray(
            jax.jit(concrete.log_prob)(
                jax.nn.log_softmax(jnp.asarray(grid), -1), logits, temperature
            ),
            np.float64,
        )
    )
    mass = (density * 0.01**2).reshape(5, 100, 5, 100).sum((1, 3)).ravel()
    observed, expected = (
        np.append(counts, num - counts.sum()),
        num * np.append(mass, 1 - mass.sum()),
    )
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-3


def test_entropy_of_two_classes_is_that_of_the_logistic():
    """E[-log p(log y)] = 2 - log temperature for K = 2, whatever the logits."""
    logits = jnp.broadcast_to(jnp.array([1.0, -0.5]), (100_000, 2))
    log_p = np.asarray(
        concrete.log_prob(sampling.log_gumbel_softmax(KEY, logits, 0.4), logits, 0.4), np.float64
    )
    assert abs(-log_p.mean() - (2 - np.log(0.4))) < 4.5 * log_p.std() / np.sqrt(len(log_p))


@pytest.mark.parametrize(
    "log_y", [[0.0, -np.inf, -np.inf], [-np.inf, np.log(0.5), np.log(0.5)], [-np.inf] * 3]
)
def test_the_boundary_is_minus_infinity(log_y):
    log_y, logits = jnp.array(log_y, jnp.float32), jnp.array([0.3, 0.1, -2.0])
    value, gradients = jax.jit(jax.value_and_grad(concrete.log_prob, (0, 1, 2)))(log_y, logits, 0.5)
    assert np.isneginf(value)
    assert all(np.all(np.isfinite(g)) for g in gradients)


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e30, 3e38])
def test_near_the_boundary_it_is_never_nan(scale):
    log_y = jnp.array([[0.0, -scale, -scale / 2], [-scale, 0.0, -1e-30]])
    for temperature in (1e-3, 1.0, 10.0):
        value = np.asarray(concrete.log_prob(log_y, jnp.array([0.3, 0.1, -2.0]), temperature))
        assert not np.any(np.isnan(value)) and not np.any(np.isposinf(value))


def test_draws_at_low_temperature_have_finite_densities():
    logits = jnp.broadcast_to(jnp.array([5.0, -5.0, 0.0, 1.0]), (10_000, 4))
    log_y = sampling.log_gumbel_softmax(KEY, logits, 0.01)
    # on the simplex these are vertices
    assert np.mean(np.exp(np.asarray(log_y)).max(-1) == 1) > 0.5
    assert np.all(np.isfinite(concrete.log_prob(log_y, logits, 0.01)))


def test_a_masked_class_leaves_the_density_of_the_others():
    logits, rest = jnp.array([0.5, -jnp.inf, -0.3, 0.9]), jnp.array([0.5, -0.3, 0.9])
    log_y = sampling.log_gumbel_softmax(KEY, logits, 0.6)
    kept = log_y[jnp.array([0, 2, 3])]
    np.testing.assert_allclose(
        concrete.log_prob(log_y, logits, 0.6), concrete.log_prob(kept, rest, 0.6), rtol=1e-5
    )
    assert np.isneginf(concrete.log_prob(jnp.log(jnp.array([0.4, 0.1, 0.2, 0.3])), logits, 0.6))
    gradient = jax.grad(lambda logits: concrete.log_prob(log_y, logits, 0.6))(logits)
    assert np.all(np.isfinite(gradient)) and gradient[1] == 0


def test_broadcasting_shift_invariance_and_one_class():
    log_y, logits = jnp.log(jnp.array([0.2, 0.3, 0.5])), jnp.array([0.1, 0.2, -0.4])
    temperatures = jnp.array([0.5, 1.0])
    both = concrete.log_prob(log_y, logits, temperatures)
    for row, t in zip(both, (0.5, 1.0), strict=True):
        np.testing.assert_allclose(row, concrete.log_prob(log_y, logits, t), rtol=1e-6)
        np.testing.assert_allclose(row, concrete.log_prob(log_y - 3.0, logits + 2.0, t), rtol=1e-4)
    assert concrete.log_prob(jnp.zeros(1), jnp.ones(1), 0.5) == 0


@pytest.mark.parametrize("temperature", [0.0, -0.5, float("nan")])
def test_a_known_temperature_that_is_not_positive_is_an_error(temperature):
    with pytest.raises(ConfigError, match="temperature must be positive"):
        jax.jit(lambda log_y: concrete.log_prob(log_y, jnp.zeros(2), temperature))(jnp.zeros(2))
