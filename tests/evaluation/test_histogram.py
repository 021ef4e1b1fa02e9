"""Counting samples in the plane, against numpy and against a KL that is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import ConfigError
from dgm_jax.evaluation.histogram import Cells, centers, counts, histogram_kl

CELLS = Cells(-8.0, 8.0, 160)


def log_normal(z):
    return jnp.sum(jax.scipy.stats.norm.logpdf(z), axis=-1)


def test_counts_are_those_of_numpy():
    samples = 4 * np.random.default_rng(0).normal(size=(5_000, 2)).astype(np.float32)
    edges = np.linspace(-8, 8, 161)
    truth, *_ = np.histogram2d(samples[:, 0], samples[:, 1], bins=(edges, edges))
    found = np.asarray(counts(jnp.asarray(samples), CELLS)).reshape(160, 160)
    assert np.abs(found - truth).sum() <= 4  # a sample on an edge may fall on either side
    assert found.sum() < 5_000


def test_centers_are_in_the_order_of_the_counts():
    z = centers(Cells(-1.0, 1.0, 4))
    assert z.shape == (16, 2)
    for i in range(16):
        assert int(np.argmax(counts(z[i : i + 1], Cells(-1.0, 1.0, 4)))) == i


@pytest.mark.parametrize("loc, scale", [(0.0, 1.0), (0.5, 0.7), (-1.0, 0.4)])
def test_kl_of_gaussians(loc, scale):
    num = 400_000
    samples = loc + scale * np.random.default_rng(1).normal(size=(num, 2))
    found = histogram_kl(counts(jnp.asarray(samples, jnp.float32), CELLS), log_normal, CELLS, num)
    truth = 2 * (-np.log(scale) + (scale**2 + loc**2) / 2 - 0.5)
    # Bins of .1 lose at most about (.1 / scale)^2 / 12 nats of two dimensions.
    assert float(found.kl) == pytest.approx(truth, abs=0.008)
    assert float(found.outside) < 1e-6 and 0 < int(found.occupied) <= 160**2


@pytest.mark.parametrize("num, left", [(2_000, 0.003), (500, 0.015)])
def test_the_correction_removes_most_of_the_bias(num, left):
    """Uniform samples against the uniform density: the KL is 0. The first-order correction of plain
    counts, (occupied - 1) / (2 N), does as well with eight samples a bin, but not with two."""
    cells = Cells(-4.0, 4.0, 16)
    rng, plain, first_order, corrected = np.random.default_rng(2), [], [], []
    uniform = lambda z: jnp.full(z.shape[0], -np.log(64.0))
    for _ in range(40):
        found = counts(jnp.asarray(rng.uniform(-4, 4, (num, 2)), jnp.float32), cells)
        corrected.append(float(histogram_kl(found, uniform, cells, num).kl))
        share = np.asarray(found, np.float64)[np.asarray(found) > 0] / num
        plain.append(np.sum(share * np.log(256 * share)))
        first_order.append(plain[-1] - (len(share) - 1) / (2 * num))
    assert abs(np.mean(corrected)) < left < np.mean(plain) / 10
    assert num > 500 or abs(np.mean(corrected)) < 0.5 * abs(np.mean(first_order))


def test_the_logarithm_of_a_count_is_grassbergers():
    """G(1) = G(2) - 2 = -gamma - log 2, G(2n + 1) = G(2n) and G(2n + 2) = G(2n) + 2 / (2n + 1)."""
    cells = Cells(0.0, 2.0, 2)
    for n, truth in (
        (1, 0.0),
        (2, 2.0),
        (3, 2.0),
        (4, 2 + 2 / 3),
        (5, 2 + 2 / 3),
        (6, 2 + 2 / 3 + 2 / 5),
    ):
        kl = histogram_kl(jnp.array([n, 0.0, 0.0, 0.0]), lambda z: jnp.zeros(len(z)), cells, n).kl
        assert float(kl) == pytest.approx(truth - np.euler_gamma - np.log(2) - np.log(n), abs=2e-6)


def test_a_sample_that_is_not_finite_lies_outside():
    """NaN turned into an integer would be a bin of its own choice."""
    samples = jnp.array([[jnp.nan, 0.0], [0.0, jnp.inf], [jnp.nan, jnp.nan], [0.1, 0.1]])
    found = counts(samples, CELLS)
    assert float(jnp.sum(found)) == 1
    uniform = lambda z: jnp.full(z.shape[:1], -2 * np.log(CELLS.high - CELLS.low))
    assert float(histogram_kl(found, uniform, CELLS, 4).outside) == 0.75


def test_samples_of_another_rank():
    with pytest.raises(ConfigError, match="low < high"):
        counts(jnp.zeros((3, 2)), CELLS._replace(low=CELLS.high))
    with pytest.raises(ConfigError, match=r"counts of Cells.* must be \[\d+\], got \(7,\)"):
        histogram_kl(jnp.ones(7), lambda z: z[:, 0], CELLS, 7)
    with pytest.raises(ConfigError, match=r"samples must be \[N, 2\], got \(3,\)"):
        counts(jnp.zeros(3), CELLS)
