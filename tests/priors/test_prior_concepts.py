"""Mixtures against scipy, the gap to the optimal prior, AF prior = IAF posterior; implicit
priors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import log_softmax, logsumexp

from dgm_jax import flows, priors
from dgm_jax.core import ConfigError
from dgm_jax.densities import gaussian, mixture

RNG = np.random.default_rng


def scipy_mixture(z, log_weights, loc, scale):
    z, log_weights, loc, scale = (np.asarray(a, np.float64) for a in (z, log_weights, loc, scale))
    return logsumexp(
        [
            w + stats.norm.logpdf(z, m, s).sum(-1)
            for w, m, s in zip(log_weights, loc, scale, strict=True)
        ],
        axis=0,
    )


# The learned mixture.


def test_the_mixture_equals_scipy_and_normalises_its_weights():
    prior, rng = priors.mixture(3, 4), RNG(0)
    loc, log_scale = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)) / 2
    params = {"logits": rng.normal(size=4) + 100, "loc": loc, "log_scale": log_scale}
    z = rng.normal(size=(30, 3)) * 2
    expected = scipy_mixture(
        z, log_softmax(params["logits"]), params["loc"], np.exp(params["log_scale"])
    )
    with jax.enable_x64(True):
        got = prior.log_prob(jax.tree.map(jnp.asarray, params), jnp.asarray(z))
        np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_components_of_the_mixture_start_apart_and_separate():
    prior = priors.mixture(2, 5, spread=2.0)
    params = prior.init(jax.random.key(0))
    assert len(np.unique(params["loc"], axis=0)) == 5 and np.ptp(params["loc"]) > 1
    z = jnp.asarray(RNG(0).normal(size=(50, 2)), jnp.float32)
    gradient = jax.jit(jax.grad(lambda p: jnp.mean(prior.log_prob(p, z))))(params)
    assert len(np.unique(np.asarray(gradient["loc"]).round(6), axis=0)) == 5
    with pytest.raises(ConfigError, match="spread must be positive"):
        priors.mixture(2, 5, spread=0)
    with pytest.raises(ConfigError, match="num_components must be an integer of at least 1; got 0"):
        priors.mixture(2, 0)


# Many components, streamed.


@pytest.mark.parametrize("chunk_size", [1, 3, 7, 50, 64])
def test_streaming_equals_scipy_at_every_chunk(chunk_size):
    rng = RNG(1)
    loc, scale, weights = (
        rng.normal(size=(50, 3)) * 3,
        rng.uniform(0.05, 1, (50, 3)),
        log_softmax(rng.normal(size=50)),
    )
    z = rng.normal(size=(4, 5, 3)) * 4
    with jax.enable_x64(True):
        got = priors.streamed_log_prob(*map(jnp.asarray, (z, weights, loc, scale)), chunk_size)
        np.testing.assert_allclose(got, scipy_mixture(z, weights, loc, scale), rtol=1e-10)


def test_gradients_of_the_stream_equal_those_of_the_whole():
    rng = RNG(2)
    loc, scale, z = rng.normal(size=(23, 2)), rng.uniform(0.2, 1, (23, 2)), rng.normal(size=(6, 2))
    weights = log_softmax(rng.normal(size=23))

    def total(function, *args):
        return lambda *a: jnp.sum(jnp.sin(function(*a, *args)))

    with jax.enable_x64(True):
        args = tuple(map(jnp.asarray, (z, weights, loc, scale)))
        streamed = jax.jit(jax.grad(total(priors.streamed_log_prob, 5), (0, 1, 2, 3)))(*args)
        whole = jax.grad(total(mixture.log_prob), (0, 1, 2, 3))(*args)
        for got, expected in zip(streamed, whole, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.optimized
def test_memory_is_that_of_a_chunk_also_for_the_gradient():
    batch, num, dim = 64, 4096, 16
    args = (
        jnp.zeros((batch, dim)),
        jnp.full(num, -jnp.log(num)),
        jnp.zeros((num, dim)),
        jnp.ones((num, dim)),
    )

    def loss(*args):
        return jnp.sum(priors.streamed_log_prob(*args, 64))

    compiled = jax.jit(jax.grad(loss, (0, 2, 3))).lower(*args).compile()
    whole = batch * num * dim * 4
    assert compiled.memory_analysis().temp_size_in_bytes < whole / 4


# The aggregated posterior is the best prior.


LOC, SCALE = np.array([-1.5, -0.2, 0.7, 2.0])[:, None], np.array([0.3, 0.5, 0.2, 0.8])[:, None]
GRID = np.linspace(-12, 12, 20_001)[:, None]


def average_kl(log_prior):
    """1/N sum_i KL(q_i || prior) by quadrature, float64."""
    log_q = stats.norm.logpdf(GRID, LOC[:, 0], SCALE[:, 0])
    difference = np.where(log_q > -700, log_q - np.asarray(log_prior)[:, None], 0)
    return np.mean(np.sum(np.exp(log_q) * difference, 0)) * (GRID[1, 0] - GRID[0, 0])


def test_the_aggregated_posterior_lowers_the_average_kl_by_its_own_kl():
    """1.4074253622 = KL(q || p) + mutual information; with q as the prior the mutual information is
    what remains."""
    with jax.enable_x64(True):
        normal_prior = priors.standard_normal(1)
        best = priors.aggregated_posterior(jnp.asarray(LOC), jnp.asarray(SCALE))
        grid, params = jnp.asarray(GRID), best.init(jax.random.key(0))
        log_p, log_q = (
            np.asarray(a) for a in (normal_prior.log_prob({}, grid), best.log_prob(params, grid))
        )
        closed_form = np.mean(gaussian.kl(LOC, SCALE, 0.0, 1.0))
    before, after = average_kl(log_p), average_kl(log_q)
    marginal = np.sum(np.exp(log_q) * (log_q - log_p)) * (GRID[1, 0] - GRID[0, 0])
    np.testing.assert_allclose(closed_form, 1.4074253622, atol=1e-9)
    np.testing.assert_allclose(before, 1.4074253622, atol=1e-9)
    np.testing.assert_allclose(before - after, marginal, atol=1e-10)
    np.testing.assert_allclose(sorted([marginal, after]), [0.3235950167, 1.0838303454], atol=1e-9)
    assert 0 <= after <= np.log(4)


def test_no_change_of_the_aggregated_posterior_is_a_better_prior():
    """There the gradient in its own parameters vanishes, and away from it the average KL is
    larger."""
    with jax.enable_x64(True):
        best = priors.aggregated_posterior(jnp.asarray(LOC), jnp.asarray(SCALE))
        params, grid = best.init(jax.random.key(0)), jnp.asarray(GRID)
        weights = jnp.mean(jnp.exp(jax.scipy.stats.norm.logpdf(grid, LOC[:, 0], SCALE[:, 0])), -1)
        width = GRID[1, 0] - GRID[0, 0]

        def cross_entropy(params):
            return -jnp.sum(weights * best.log_prob(params, grid)) * width

        least, gradient = jax.value_and_grad(cross_entropy)(params)
        for leaf in jax.tree.leaves(gradient):
            np.testing.assert_allclose(leaf, 0, atol=1e-10)
        for seed in range(5):
            rng = RNG(seed)
            step = {
                name: leaf * jnp.exp(0.1 * rng.normal(size=leaf.shape))
                for name, leaf in params.items()
            }
            assert cross_entropy(step) > least + 1e-5


def test_posteriors_of_the_wrong_shape_are_named():
    for loc, scale in (
        (jnp.zeros((3, 2)), jnp.ones((3, 1))),
        (jnp.zeros(3), jnp.ones(3)),
        (jnp.zeros((0, 2)),) * 2,
    ):
        with pytest.raises(ConfigError, match=r"loc and scale must both be \[N, D\]"):
            priors.aggregated_posterior(loc, scale)
    with pytest.raises(ConfigError, match="chunk_size must be an integer of at least 1; got 0"):
        priors.aggregated_posterior(jnp.zeros((3, 2)), jnp.ones((3, 2)), 0).log_prob(
            {"loc": jnp.zeros((3, 2)), "scale": jnp.ones((3, 2))}, jnp.zeros(2)
        )


# Flows.


def test_the_elbo_of_an_autoregressive_prior_is_that_of_an_inverse_autoregressive_posterior():
    """Chen et al. 2017, eq. 12-14, sample by sample. Right-hand side: e is the latent, with the
    prior N(0, I), the generator p(x | f(e)) and the posterior that z ~ q pushed through f^-1 has,
    all recomputed from e alone."""
    dim, num = 3, 40
    with jax.enable_x64(True):
        prior, bijection = priors.autoregressive_flow_prior(dim), flows.autoregressive_flow(dim)
        params = jax.tree.map(
            lambda leaf: leaf + 0.15 * RNG(6).normal(size=leaf.shape), prior.init(jax.random.key(0))
        )
        rng = RNG(0)
        loc, scale = rng.normal(size=dim), rng.uniform(0.3, 0.9, dim)
        matrix, x = rng.normal(size=(dim, 5)), rng.normal(size=5)
        z = jnp.asarray(loc + scale * rng.normal(size=(num, dim)))

        def log_likelihood(z):
            return jnp.sum(gaussian.log_prob(x, jnp.tanh(z @ matrix), 0.5), -1)

        def log_encoder(z):
            return jnp.sum(gaussian.log_prob(z, loc, scale), -1)

        with_prior = log_likelihood(z) + jax.jit(prior.log_prob)(params, z) - log_encoder(z)
        e, _ = jax.jit(bijection.forward_and_log_det)(params, z)
        back, log_det = jax.jit(bijection.inverse_and_log_det)(params, e)
        log_posterior = log_encoder(back) + log_det
        with_posterior = log_likelihood(back) + stats.norm.logpdf(e).sum(-1) - log_posterior
        np.testing.assert_allclose(with_prior, with_posterior, rtol=1e-9)
        # It is not the ELBO of the plain prior.
        assert (
            np.abs(
                with_prior - (log_likelihood(z) + stats.norm.logpdf(z).sum(-1) - log_encoder(z))
            ).max()
            > 0.1
        )


def test_a_flow_prior_takes_noise_forward_to_samples():
    """z = exp(log_scale) e + shift is N(shift, exp(log_scale)^2), not its inverse."""
    prior = priors.flow(flows.affine(2), 2)
    params = {"log_scale": jnp.log(jnp.array([0.5, 3.0])), "shift": jnp.array([1.0, -2.0])}
    z = np.asarray(prior.sample(params, jax.random.key(0), 5000))
    for column, loc, scale in zip(z.T, (1.0, -2.0), (0.5, 3.0), strict=True):
        assert stats.kstest(column, stats.norm(loc, scale).cdf).pvalue > 1e-3
    expected = stats.norm.logpdf(z[:9], [1.0, -2.0], [0.5, 3.0]).sum(-1)
    np.testing.assert_allclose(prior.log_prob(params, z[:9]), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ConfigError, match="bijection must be a Bijection"):
        priors.flow(flows.affine, 2)


# The implicit ratio.


def tilted(params, z):
    """log of 5 N(z; c, .7^2) / N(z; 0, 1): Z = 5."""
    return jnp.log(5.0) + jnp.sum(
        gaussian.log_prob(z, params, 0.7) - gaussian.log_prob(z, 0.0, 1.0), -1
    )


RATIO = {"base": {}, "ratio": jnp.array([0.5])}


def test_without_a_normaliser_the_density_says_that_it_is_not_normalised():
    base = priors.standard_normal(1)
    free = priors.implicit_ratio(base, tilted, lambda key: jnp.array([0.5]))
    held = priors.implicit_ratio(
        base, tilted, lambda key: jnp.array([0.5]), log_normalizer=np.log(5.0)
    )
    assert not free.normalized and held.normalized
    z = np.linspace(-4, 4, 9, dtype=np.float32)[:, None]
    truth = stats.norm.logpdf(z[:, 0], 0.5, 0.7)
    np.testing.assert_allclose(
        free.log_prob(free.init(jax.random.key(0)), z), truth + np.log(5), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(held.log_prob(RATIO, z), truth, rtol=1e-5, atol=1e-5)


def test_the_normaliser_is_found_within_its_error_and_the_error_is_right():
    """w = q / p with q = N(.5, .7^2), p = N(0, 1): E w^2 by quadrature gives the error and the
    sample size."""
    n = 20_000
    x = np.linspace(-15, 15, 60_001)
    second = np.sum(np.exp(2 * stats.norm.logpdf(x, 0.5, 0.7) - stats.norm.logpdf(x))) * (
        x[1] - x[0]
    )
    expected_error = np.sqrt((second - 1) / n)
    estimate = jax.jit(
        lambda key: priors.estimate_log_normalizer(key, priors.standard_normal(1), tilted, RATIO, n)
    )
    found = jax.vmap(estimate)(jax.random.split(jax.random.key(0), 40))
    np.testing.assert_allclose(found.standard_error, expected_error, rtol=0.2)
    np.testing.assert_allclose(found.effective_sample_size, n / second, rtol=0.1)
    z_scores = (np.asarray(found.value) - np.log(5)) / expected_error
    assert np.abs(z_scores).max() < 4 and 0.7 < z_scores.std() < 1.35
    # No overflow, whatever the constant.
    shifted = priors.estimate_log_normalizer(
        jax.random.key(0), priors.standard_normal(1), lambda p, z: tilted(p, z) + 500, RATIO, n
    )
    np.testing.assert_allclose(shifted.value, np.log(5) + 500, atol=5 * expected_error)
    with pytest.raises(ConfigError, match="n must be at least 2; got 1"):
        priors.estimate_log_normalizer(
            jax.random.key(0), priors.standard_normal(1), tilted, RATIO, 1
        )


@pytest.mark.parametrize("num_candidates, law", [(1, (0.0, 1.0)), (256, (0.5, 0.7))])
def test_resampling_leads_from_the_base_to_the_prior(num_candidates, law):
    prior = priors.implicit_ratio(
        priors.standard_normal(1),
        tilted,
        lambda key: jnp.array([0.5]),
        num_candidates=num_candidates,
    )
    z = np.asarray(jax.jit(prior.sample, static_argnums=2)(RATIO, jax.random.key(2), 4000))
    assert z.shape == (4000, 1)
    assert stats.kstest(z[:, 0], stats.norm(*law).cdf).pvalue > 1e-3
    other = (0.5, 0.7) if num_candidates == 1 else (0.0, 1.0)
    assert stats.kstest(z[:, 0], stats.norm(*other).cdf).pvalue < 1e-9


def test_with_the_true_ratio_the_implicit_prior_is_the_aggregated_posterior():
    loc, scale = jnp.asarray(LOC, jnp.float32), jnp.asarray(SCALE, jnp.float32)
    exact = priors.aggregated_posterior(loc, scale)
    params, base = exact.init(jax.random.key(0)), priors.standard_normal(1)
    implicit = priors.implicit_ratio(
        base,
        lambda ratio, z: exact.log_prob(ratio, z) - base.log_prob({}, z),
        lambda key: params,
        log_normalizer=0.0,
    )
    z = jnp.linspace(-3, 3, 31)[:, None]
    got = implicit.log_prob(implicit.init(jax.random.key(0)), z)
    expected = scipy_mixture(z, np.full(len(LOC), -np.log(len(LOC))), LOC, SCALE)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
