"""Families of densities that are fitted to a posterior: what they say of themselves."""

import jax
import numpy as np
import pytest
import scipy.stats

from dgm_jax.densities.posteriors import POSTERIORS
from dgm_jax.models.posterior_families import gaussian_family


@pytest.mark.parametrize("full_rank", [False, True])
def test_the_gaussian_families_are_normal(full_rank):
    family = gaussian_family(POSTERIORS["eight_schools"], 8, full_rank)
    params, _ = family.init(jax.random.key(0))
    noise = iter(jax.random.split(jax.random.key(1), 3))
    params = jax.tree.map(lambda x: x + 0.3 * jax.random.normal(next(noise), x.shape), params)["q"]
    factor = np.diag(np.exp(np.float64(params["log_scale"])))
    if full_rank:
        factor = factor + np.tril(np.float64(params["lower"]), -1)
    z = family.draw(jax.random.key(2), {"q": params}, 100_000)
    expected = scipy.stats.multivariate_normal(np.float64(params["loc"]), factor @ factor.T)
    np.testing.assert_allclose(
        family.log_prob({"q": params}, z[:50]), expected.logpdf(z[:50]), rtol=2e-4, atol=2e-4
    )
    np.testing.assert_allclose(np.cov(z.T), factor @ factor.T, atol=0.06)
    entropy = -np.mean(family.log_prob({"q": params}, z))
    np.testing.assert_allclose(entropy, expected.entropy(), atol=0.03)
