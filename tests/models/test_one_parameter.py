"""Junk and kernels over a standard normal density: densities by hand, samples by their rule."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dgm_jax.densities import gaussian
from dgm_jax.models.one_parameter import JUNK_SCALE, junk, kernels, noise, pick


class Standard(NamedTuple):
    """N(0, I)."""

    dim: int

    def log_prob(self, x):
        return jnp.sum(gaussian.log_prob(x, 0.0, 1.0), axis=-1)

    def sample(self, key, n):
        return jax.random.normal(key, (n, self.dim))


def log_normal(x, scale):
    return scipy.stats.norm.logpdf(np.float64(x), scale=scale).sum(-1)


@pytest.mark.parametrize("dim", [2, 64])
def test_the_density_of_junk(dim):
    data = Standard(dim)
    x = jnp.concatenate(
        [data.sample(jax.random.key(0), 50), 30 * jax.random.normal(jax.random.key(1), (50, dim))]
    )
    family = junk(data)
    found = family.log_prob(jnp.float32(family.raw_of(0.01)), None, x)
    expected = np.logaddexp(
        math.log(0.01) + log_normal(x, 1), math.log(0.99) + log_normal(x, JUNK_SCALE)
    )
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-3)
    # At every point, not on average only.
    assert np.all(np.float64(found) >= log_normal(x, 1) - math.log(100) - 2e-3)


def test_a_share_of_the_samples_of_junk_is_exact():
    family, drawn = junk(Standard(3)), noise(jax.random.key(0), Standard(3), 4_000)
    x = np.asarray(family.sample(jnp.float32(family.raw_of(0.1)), None, drawn))
    exact = (x == np.asarray(drawn.exact)).all(1)
    assert abs(exact.mean() - 0.1) < 4 * math.sqrt(0.1 * 0.9 / 4_000)
    assert x[~exact].std() == pytest.approx(JUNK_SCALE, rel=0.05)


def test_every_kernel_is_picked_equally_often():
    picked = np.asarray(
        pick(jnp.concatenate([jnp.arange(0, 1, 1 / 4096), jnp.array([1 - 2.0**-24])]), 1000)
    )
    assert picked.min() == 0 and picked.max() == 999
    assert set(np.bincount(picked[:-1])) <= {4, 5}


def test_samples_of_kernels_lie_around_their_centres():
    centres = 100.0 * jnp.eye(4)
    family, drawn = kernels(Standard(4)), noise(jax.random.key(1), Standard(4), 2_000)
    x = np.asarray(family.sample(jnp.float32(family.raw_of(0.5)), centres, drawn))
    distances = x[:, None] - np.asarray(centres)
    nearest = np.linalg.norm(distances, axis=-1).argmin(axis=1)
    assert np.all(np.bincount(nearest, minlength=4) > 400)
    assert distances[np.arange(2_000), nearest].std() == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("family", [junk(Standard(2)), kernels(Standard(2))])
def test_the_parameter_goes_there_and_back(family):
    for value in (0.003, 0.4, 0.9):
        assert float(family.natural(family.raw_of(value))) == pytest.approx(value, rel=1e-5)
