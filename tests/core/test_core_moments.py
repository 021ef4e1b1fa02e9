"""Running moments against numpy in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import ConfigError, RunningMoments


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_moments_of_batches_are_the_moments_of_all(shape):
    # Batches of different sizes, and a mean beside which the deviations are small.
    rng = np.random.default_rng(0)
    batches = [1000 + rng.normal(size=(n, *shape)).astype(np.float32) for n in (50, 1, 120, 179)]
    moments = RunningMoments.empty(shape)
    for batch in batches:
        moments = jax.jit(RunningMoments.merge)(moments, batch)
    everything = np.concatenate(batches).astype(np.float64)
    assert moments.count == 350
    np.testing.assert_allclose(moments.mean, everything.mean(0), rtol=1e-6)
    np.testing.assert_allclose(moments.variance(), everything.var(0, ddof=1), rtol=2e-3)
    np.testing.assert_allclose(moments.squares, everything.var(0) * 350, rtol=2e-3)


def test_a_single_value_has_no_variance():
    moments = RunningMoments.empty().merge(jnp.array([3.0]))
    assert (moments.count, moments.mean, moments.variance()) == (1, 3, 0)


@pytest.mark.parametrize("values", [jnp.zeros(()), jnp.zeros(5), jnp.zeros((5, 2))])
def test_values_of_another_shape(values):
    with pytest.raises(ConfigError, match=r"as the mean is \(3,\)"):
        RunningMoments.empty((3,)).merge(values)


@pytest.mark.parametrize("sizes", [(4, 9), (0, 5), (5, 0), (0, 0)])
def test_two_sets_join_with_their_outer_products(sizes):
    """Sums of outer products of deviations, as a covariance needs; an empty set changes nothing."""
    values = np.random.default_rng(2).normal(size=(sum(sizes), 3)) + 10
    parts = np.split(values, [sizes[0]])

    def moments(x):
        mean = x.mean(0) if len(x) else np.zeros(3)
        squares = (x - mean).T @ (x - mean)
        return RunningMoments(jnp.float32(len(x)), *map(jnp.float32, (mean, squares)))

    got = moments(parts[0]).join(moments(parts[1]), product=lambda d: jnp.outer(d, d))
    expected = moments(values)
    assert got.count == expected.count
    np.testing.assert_allclose(got.mean, expected.mean, rtol=1e-5)
    np.testing.assert_allclose(got.squares, expected.squares, rtol=1e-4, atol=1e-4)
