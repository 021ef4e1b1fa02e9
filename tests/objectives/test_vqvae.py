"""The VQ-VAE objective: its units, and the bound by enumeration of all codes."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dgm_jax.core import ConfigError
from dgm_jax.objectives import vqvae

RNG = np.random.default_rng(0)


def test_terms_are_sums_over_the_grid_and_means_over_examples():
    likelihood, book, commit = (
        RNG.normal(size=4),
        RNG.uniform(size=(4, 2, 3)),
        RNG.uniform(size=(4, 2, 3)),
    )
    expected = np.mean(-likelihood + book.sum((1, 2)) + 0.25 * commit.sum((1, 2)))
    got = vqvae.loss(*map(jnp.asarray, (likelihood, book, commit)))
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    doubled = vqvae.loss(*(jnp.asarray(np.concatenate([a, a])) for a in (likelihood, book, commit)))
    np.testing.assert_allclose(doubled, got, rtol=1e-6)
    averaged = vqvae.loss(
        *map(jnp.asarray, (likelihood, book, commit)), codebook_weight=0.0, commitment_weight=1.0
    )
    np.testing.assert_allclose(averaged, np.mean(commit.sum((1, 2)) - likelihood), rtol=1e-5)


def test_the_bound_is_below_log_p_of_the_enumerated_model():
    """Two places, three codes: log p(x) = log sum over nine grids of p(c) p(x | c)."""
    codebook, x = RNG.normal(size=(3, 2)), RNG.normal(size=4)
    grids = list(itertools.product(range(3), repeat=2))
    log_likelihood = np.array(
        [scipy.stats.norm.logpdf(x, codebook[list(c)].reshape(-1), 0.3).sum() for c in grids]
    )
    log_prior = vqvae.uniform_log_prior(2, 3)
    np.testing.assert_allclose(log_prior, -np.log(9), rtol=1e-12)
    log_p = np.logaddexp.reduce(log_likelihood + log_prior)
    bounds = np.asarray(vqvae.bound(jnp.asarray(log_likelihood), log_prior))
    assert np.all(bounds < log_p) and np.max(bounds) > log_p - np.log(9)


def test_shapes_that_do_not_fit():
    with pytest.raises(ConfigError, match=r"log_likelihood must be \[B\]"):
        vqvae.loss(jnp.zeros((4, 28)), jnp.zeros((4, 7)), jnp.zeros((4, 7)))
    with pytest.raises(ConfigError, match="commitment_loss"):
        vqvae.loss(jnp.zeros(4), jnp.zeros((4, 7)), jnp.zeros((5, 7)))
    with pytest.raises(ConfigError, match="num_codes"):
        vqvae.uniform_log_prior(4, 0)
