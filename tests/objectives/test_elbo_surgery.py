"""Surgery against quadrature, enumeration of all batches and sums written out."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import norm

from dgm_jax.core import ConfigError
from dgm_jax.objectives import elbo_surgery
from dgm_jax.objectives.aggregate_density import log_densities, stratified_weights

MEANS, DEVIATIONS = np.array([-1.5, -0.2, 0.7, 2.0]), np.array([0.3, 0.5, 0.2, 0.8])


def posteriors(seed, num, dim, spread=1.5):
    rng = np.random.default_rng(seed)
    loc, scale = spread * rng.normal(size=(num, dim)), 0.2 + rng.random((num, dim))
    return loc, scale, loc + scale * rng.normal(size=(num, dim))


def all_log_q(z, loc, scale):
    return norm.logpdf(z[:, None], loc, scale).sum(-1)


def exact_terms():
    """Quadrature of the four posteriors in float64, by numpy alone."""
    grid = np.linspace(-12, 12, 200_001)
    log_q = norm.logpdf(grid, MEANS[:, None], DEVIATIONS[:, None])
    log_aggregate, log_p = logsumexp(log_q, axis=0) - np.log(4), norm.logpdf(grid)
    q, h = np.exp(log_q), grid[1] - grid[0]
    return (
        (q * (log_q - log_p)).sum() * h / 4,
        (q * (log_q - log_aggregate)).sum() * h / 4,
        (np.exp(log_aggregate) * (log_aggregate - log_p)).sum() * h,
    )


def test_quadrature_hits_the_known_numbers():
    with jax.enable_x64(True):
        grid = jnp.linspace(-12, 12, 200_001)
        log_q = jnp.asarray(norm.logpdf(np.asarray(grid), MEANS[:, None], DEVIATIONS[:, None]))
        got = elbo_surgery.decompose_on_grid(
            log_q, jnp.asarray(norm.logpdf(np.asarray(grid))), 24 / 200_000
        )
        np.testing.assert_allclose(got, exact_terms(), atol=1e-9)
    np.testing.assert_allclose(got.average_kl, 1.4074253622, atol=1e-9)
    np.testing.assert_allclose(sorted(got[1:]), [0.3235950167, 1.0838303454], atol=1e-9)
    closed = (np.log(1 / DEVIATIONS) + (DEVIATIONS**2 + MEANS**2) / 2 - 0.5).mean()
    np.testing.assert_allclose(got.average_kl, closed, atol=1e-9)


@pytest.mark.parametrize(("x64", "tolerance"), [(False, 1e-6), (True, 1e-12)])
def test_the_terms_add_up_however_far_the_points_are_apart(x64, tolerance):
    for spread in (0.0, 1.5, 300.0):
        loc, scale, z = posteriors(0, 40, 3, spread)
        log_q, log_prior = all_log_q(z, loc, scale), norm.logpdf(z).sum(-1)
        expected_information = (np.diag(log_q) - logsumexp(log_q, axis=1) + np.log(40)).mean()
        with jax.enable_x64(x64):
            dtype = jnp.float64 if x64 else jnp.float32
            got = jax.jit(elbo_surgery.decompose)(
                jnp.asarray(log_q, dtype), jnp.asarray(log_prior, dtype)
            )
            size = max(1.0, float(got.average_kl))
            assert abs(got.average_kl - got.mutual_information - got.marginal_kl) < tolerance * size
            np.testing.assert_allclose(
                got.mutual_information, expected_information, atol=max(tolerance, 1e-12) * 10
            )
    # spread 300: disjoint
    np.testing.assert_allclose(got.mutual_information, np.log(40), rtol=1e-6)


def test_draws_find_the_quadrature():
    """The four posteriors 5000 times each: the same aggregated posterior, 20,000 draws."""
    z = jnp.asarray(
        MEANS + DEVIATIONS * np.random.default_rng(1).normal(size=(5000, 4)), jnp.float32
    )[..., None]
    loc, scale = (jnp.asarray(a, jnp.float32)[:, None] for a in (MEANS, DEVIATIONS))
    log_prior = jax.scipy.stats.norm.logpdf(z[..., 0])
    got = elbo_surgery.decompose_gaussian(z, loc, scale, log_prior, chunk_size=3000)
    own = np.asarray(log_densities(z, loc, scale).posterior) - np.asarray(log_prior)
    for term, truth in zip(
        (got.average_kl, got.mutual_information, got.marginal_kl), exact_terms(), strict=True
    ):
        assert abs(term.mean - truth) < 4 * own.std() / np.sqrt(20_000)
    np.testing.assert_allclose(got.total_correlation.mean, 0, atol=1e-5)  # one dimension


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(2, 5), st.floats(0.0, 20.0))
def test_information_lies_between_zero_and_log_n(seed, num, spread):
    rng = np.random.default_rng(seed)
    loc, scale = spread * rng.normal(size=(num, 1)), 0.3 + rng.random((num, 1))
    grid = np.linspace(-110, 110, 8001)
    log_q = jnp.asarray(norm.logpdf(grid, loc, scale), jnp.float32)
    got = elbo_surgery.decompose_on_grid(
        log_q, jnp.asarray(norm.logpdf(grid, 0, 20), jnp.float32), 220 / 8000
    )
    assert -1e-4 <= got.mutual_information <= elbo_surgery.mutual_information_bound(num) + 1e-4
    same = jnp.broadcast_to(log_q[:1], log_q.shape)
    np.testing.assert_allclose(
        elbo_surgery.decompose_on_grid(same, log_q[0], 220 / 8000), 0, atol=1e-5
    )


@pytest.mark.parametrize("chunk_size", [1, 5, 13, 100])
def test_streams_are_the_sums_written_out(chunk_size):
    loc, scale, z = posteriors(2, 13, 3)
    draws = np.stack([z, z[::-1] * 0.9])
    joint = np.stack([logsumexp(all_log_q(d, loc, scale), axis=1) - np.log(13) for d in draws])
    marginals = logsumexp(norm.logpdf(draws[:, :, None], loc, scale), axis=2) - np.log(13)
    own = norm.logpdf(draws, loc, scale).sum(-1)
    log_prior, log_likelihood = norm.logpdf(draws), -np.abs(draws).sum(-1)
    with jax.enable_x64(True):
        got = jax.jit(
            lambda *a: elbo_surgery.decompose_gaussian(
                *a[:4],
                log_likelihood=a[4],
                log_prior_by_dimension=a[5],
                chunk_size=chunk_size,
            )
        )(*map(jnp.asarray, (draws, loc, scale, log_prior.sum(-1), log_likelihood, log_prior)))
    got = jax.tree.map(np.asarray, got)
    expected = {
        "reconstruction": log_likelihood,
        "average_kl": own - log_prior.sum(-1),
        "mutual_information": own - joint,
        "marginal_kl": joint - log_prior.sum(-1),
        "total_correlation": joint - marginals.sum(-1),
    }
    for name, values in expected.items():
        term = getattr(got, name)
        np.testing.assert_allclose(term.mean, values.mean(), atol=1e-10)
        np.testing.assert_allclose(
            term.standard_error, values.mean(0).std(ddof=1) / np.sqrt(13), atol=1e-10
        )
    np.testing.assert_allclose(
        got.dimension_kl.mean, (marginals - log_prior).mean((0, 1)), atol=1e-10
    )
    np.testing.assert_allclose(
        got.marginal_kl.mean, got.total_correlation.mean + got.dimension_kl.mean.sum(), atol=1e-10
    )
    np.testing.assert_allclose(
        got.average_kl.mean, got.mutual_information.mean + got.marginal_kl.mean, atol=1e-10
    )


def test_the_stream_is_decompose_under_vmap_and_has_its_gradient():
    loc, scale, z = (
        jnp.asarray(np.stack(a), jnp.float32)
        for a in zip(*(posteriors(s, 11, 2) for s in (3, 4)), strict=True)
    )

    def streamed(loc, scale, z):
        terms = elbo_surgery.decompose_gaussian(
            z, loc, scale, jnp.sum(jax.scipy.stats.norm.logpdf(z), -1), chunk_size=4
        )
        assert terms.reconstruction is None and terms.dimension_kl is None
        return terms.marginal_kl.mean

    def whole(loc, scale, z):
        log_q = jnp.sum(jax.scipy.stats.norm.logpdf(z[:, None], loc, scale), -1)
        return elbo_surgery.decompose(
            log_q, jnp.sum(jax.scipy.stats.norm.logpdf(z), -1)
        ).marginal_kl

    both = [jax.jit(jax.vmap(jax.value_and_grad(f, argnums=(0, 1, 2)))) for f in (streamed, whole)]
    got, expected = (f(loc, scale, z) for f in both)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), got, expected)
    assert max(float(jnp.abs(g).max()) for g in got[1]) > 0.01


@pytest.mark.optimized
def test_memory_is_that_of_a_chunk():
    def temporary(num):
        shapes = [
            jax.ShapeDtypeStruct(s, jnp.float32) for s in ((num, 8), (num, 8), (num, 8), (num,))
        ]
        run = jax.jit(lambda *a: elbo_surgery.decompose_gaussian(*a, chunk_size=64))
        return run.lower(*shapes).compile().memory_analysis().temp_size_in_bytes

    assert temporary(16_384) < 8 * 16_384 * 8 * 4 + 4 * 64 * 64 * 8 * 4  # rows, never N x N = 1 GB


def test_stratified_weights_are_unbiased_over_all_batches():
    """N = 8, B = 4: the mean over every batch that holds point i is q(z_i), for each i."""
    loc, scale, z = posteriors(5, 8, 2)
    log_q = all_log_q(z, loc, scale)
    exact = np.exp(log_q).mean(1)
    sums, counts, weighted = np.zeros(8), np.zeros(8), np.zeros(8)
    with jax.enable_x64(True):
        batches = np.array(list(itertools.combinations(range(8), 4)))
        some = jnp.asarray(np.stack([log_q[np.ix_(b, b)] for b in batches]))
        stratified = np.exp(jax.vmap(lambda m: elbo_surgery.minibatch_stratified(m, 8))(some))
        by_weight = np.exp(jax.vmap(lambda m: elbo_surgery.minibatch_weighted(m, 8))(some))
        for batch, s, w in zip(batches, stratified, by_weight, strict=True):
            sums[batch] += s
            weighted[batch] += w
            counts[batch] += 1
        np.testing.assert_allclose(sums / counts, exact, rtol=1e-12)
        assert np.all(np.abs(weighted / counts / exact - 1) > 0.1)
        for batch, num in ((4, 8), (4, 10), (2, 50), (5, 5)):
            weights = stratified_weights(batch, num)
            np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-12)
            np.testing.assert_allclose(np.diag(weights), 1 / num, rtol=1e-12)


def test_the_whole_data_set_as_a_batch_is_exact_with_trailing_axes_kept():
    loc, scale, z = posteriors(6, 9, 3)
    elementwise = norm.logpdf(z[:, None], loc, scale)
    got = elbo_surgery.minibatch_stratified(jnp.asarray(elementwise, jnp.float32), 9)
    np.testing.assert_allclose(got, logsumexp(elementwise, axis=1) - np.log(9), atol=1e-5)
    np.testing.assert_allclose(
        elbo_surgery.minibatch_weighted(jnp.asarray(elementwise, jnp.float32), 9) + np.log(9),
        got,
        atol=1e-5,
    )


def test_information_by_each_estimator_of_log_q():
    """N = 1024, B = 64, ten dimensions: the weighted form says more than log N, the batch alone no
    more than log B."""
    num, batch = 1024, 64
    loc, scale, z = posteriors(7, num, 10, 1.0)
    loc, scale, z = (
        jnp.asarray(a, jnp.float32)
        for a in (loc, 0.3 + scale / 4, loc + (0.3 + scale / 4) * (z - loc) / scale)
    )
    exact = elbo_surgery.decompose_gaussian(z, loc, scale, jnp.zeros(num)).mutual_information.mean

    def of_batch(rows):
        log_q = jnp.sum(jax.scipy.stats.norm.logpdf(z[rows][:, None], loc[rows], scale[rows]), -1)
        own = jnp.diagonal(log_q)
        return jnp.stack(
            [
                jnp.mean(own - elbo_surgery.minibatch_weighted(log_q, num)),
                jnp.mean(own - elbo_surgery.minibatch_stratified(log_q, num)),
                elbo_surgery.decompose(log_q, jnp.zeros(batch)).mutual_information,
            ]
        )

    weighted, stratified, alone = jax.vmap(of_batch)(jnp.arange(num).reshape(-1, batch)).mean(0)
    assert np.log(batch) < exact < np.log(num) and weighted > np.log(num) + 1
    assert alone <= np.log(batch) + 1e-5
    # a logarithm of an unbiased estimate: high, by Jensen's gap
    assert exact < stratified < exact + 0.35


def test_active_units():
    rng = np.random.default_rng(8)
    loc = rng.normal(size=(2000, 3)) * np.sqrt([1.0, 0.02, 0.005])
    got = jax.jit(elbo_surgery.active_units)(jnp.asarray(loc, jnp.float32))
    np.testing.assert_allclose(got.variance, loc.var(0, ddof=1), rtol=1e-4)
    np.testing.assert_array_equal(got.active, [True, True, False])
    assert int(got.count) == 2 and int(elbo_surgery.active_units(jnp.asarray(loc), 0.5).count) == 1


def test_input_that_does_not_fit_is_named():
    with pytest.raises(ConfigError, match=r"got \(3, 4\) and \(3,\)"):
        elbo_surgery.decompose(jnp.zeros((3, 4)), jnp.zeros(3))
    with pytest.raises(ConfigError, match=r"\[N, G\].*\(3, 4\) and \(3,\)"):
        elbo_surgery.decompose_on_grid(jnp.zeros((3, 4)), jnp.zeros(3), 0.1)
    with pytest.raises(ConfigError, match=r"z \(5, 2\)"):
        elbo_surgery.decompose_gaussian(
            jnp.zeros((5, 2)), jnp.zeros((4, 2)), jnp.ones((4, 2)), jnp.zeros(5)
        )
    with pytest.raises(ConfigError, match=r"log_likelihood must be \(4,\)"):
        elbo_surgery.decompose_gaussian(
            jnp.zeros((4, 2)),
            jnp.zeros((4, 2)),
            jnp.ones((4, 2)),
            jnp.zeros(4),
            log_likelihood=jnp.zeros((4, 2)),
        )
    with pytest.raises(ConfigError, match="chunk_size"):
        log_densities(jnp.zeros((4, 2)), jnp.zeros((4, 2)), jnp.ones((4, 2)), 0)
    with pytest.raises(ConfigError, match="at least B = 4; got 3"):
        elbo_surgery.minibatch_stratified(jnp.zeros((4, 4)), 3)
    with pytest.raises(ConfigError, match="batch of one"):
        elbo_surgery.minibatch_stratified(jnp.zeros((1, 1)), 3)
    with pytest.raises(ConfigError, match="N at least 2"):
        elbo_surgery.active_units(jnp.zeros((1, 2)))
    with pytest.raises(ConfigError, match="num_points"):
        elbo_surgery.mutual_information_bound(0)
