"""Adversarial variational Bayes with the optimal critic known: Gaussian posteriors, and the
linear-Gaussian model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from dgm_jax.core import ConfigError, normal
from dgm_jax.densities import gaussian
from dgm_jax.objectives import adversarial_variational_bayes as avb
from dgm_jax.objectives import elbo, iwae

LATENTS, PIXELS, NOISE = 2, 5, 0.5
W = jnp.asarray(np.random.default_rng(7).normal(size=(PIXELS, LATENTS)), jnp.float32)
X = jnp.asarray(np.random.default_rng(9).normal(size=(6, PIXELS)), jnp.float32)
PARAMS = {
    "weight": (
        0.3 * jnp.asarray(np.random.default_rng(10).normal(size=(PIXELS, LATENTS)), jnp.float32)
    ),
    "log_scale": jnp.array([-0.4, 0.2]),
    "prior": jnp.array([0.3, -0.2]),
}


def encode(params):
    return X @ params["weight"], jnp.exp(params["log_scale"]) * jnp.ones((len(X), LATENTS))


def log_likelihood(z):
    return jnp.sum(gaussian.log_prob(X, z @ W.T, NOISE), -1)


def log_prior(z, params=None):
    return jnp.sum(gaussian.log_prob(z, 0.0 if params is None else params["prior"], 1.0), -1)


def log_q(z, params):
    return jnp.sum(gaussian.log_prob(z, *encode(params)), -1)


def oracle_loss(params, noise, learned_prior=False, beta=1.0):
    """The encoder's loss with T* of the very same encoder, held constant as a critic's parameters
    are."""
    loc, scale = encode(params)
    z = loc + scale * noise
    prior = log_prior(z, params if learned_prior else None)
    logits = avb.with_prior(log_q(z, jax.lax.stop_gradient(params)), prior)
    return avb.loss(log_likelihood(z), logits, beta)


def vae_loss(params, noise, learned_prior=False):
    """The same with the density of q in closed form, differentiated in full."""
    loc, scale = encode(params)
    z = loc + scale * noise
    return -jnp.mean(
        log_likelihood(z) + log_prior(z, params if learned_prior else None) - log_q(z, params)
    )


def noises(num, seed=0):
    return normal(jax.random.key(seed), (num, len(X), LATENTS))


def test_the_oracle_critic_gives_the_loss_of_a_vae_draw_by_draw():
    for noise in noises(5):
        np.testing.assert_allclose(oracle_loss(PARAMS, noise), vae_loss(PARAMS, noise), rtol=1e-6)
        got = jax.grad(oracle_loss)(PARAMS, noise)
        # d/dz of -log p(x, z) + log q(z | x), carried to the encoder by z = loc + scale noise; in
        # numpy.
        loc, scale = map(np.asarray, encode(PARAMS))
        z = loc + scale * np.asarray(noise)
        slope = -(np.asarray(X) - z @ W.T) @ np.asarray(W) / NOISE**2 + z - (z - loc) / scale**2
        np.testing.assert_allclose(got["weight"], np.asarray(X).T @ slope / len(X), atol=2e-5)
        np.testing.assert_allclose(got["log_scale"], (slope * scale * noise).mean(0), atol=2e-5)


def test_the_gradient_left_out_has_no_mean():
    """Prop. 2: E_q[grad_phi T*] = 0, within 4 standard errors; the loss's gradient is that of the
    closed-form ELBO."""
    num = 20_000

    def critic_only(params, noise):
        loc, scale = jax.lax.stop_gradient(encode(params))
        return jnp.mean(log_q(loc + scale * noise, params))

    def closed(params):
        loc, scale = encode(params)
        residual = jnp.sum((X - loc @ W.T) ** 2, -1) + jnp.sum(scale**2 @ (W**2).T, -1)
        return jnp.mean(residual / (2 * NOISE**2) + jnp.sum(gaussian.kl(loc, scale, 0.0, 1.0), -1))

    def close(gradients, truth):
        def check(g, t):
            assert np.all(np.abs(g.mean(0) - t) < 4.5 * g.std(0) / np.sqrt(num) + 1e-6)

        jax.tree.map(check, gradients, truth)

    encoder = {k: PARAMS[k] for k in ("weight", "log_scale")}

    def per_draw(f):
        return jax.jit(jax.vmap(jax.grad(f), (None, 0)))(encoder, noises(num, 1))

    left_out = per_draw(critic_only)
    assert left_out["log_scale"].std() > 0.1
    close(left_out, jax.tree.map(jnp.zeros_like, encoder))
    close(per_draw(oracle_loss), jax.grad(closed)(encoder))


def test_the_offset_is_the_priors_own_log_density_and_carries_its_gradient():
    noise = noises(1)[0]
    got = jax.grad(oracle_loss)(PARAMS, noise, True)["prior"]
    np.testing.assert_allclose(got, jax.grad(vae_loss)(PARAMS, noise, True)["prior"], atol=1e-6)
    assert jnp.abs(got).max() > 0.01
    z = noises(1, 3)[0]
    half_square = jnp.sum(z**2, -1) / 2 + LATENTS * np.log(2 * np.pi) / 2
    np.testing.assert_allclose(
        avb.with_prior(jnp.zeros(len(X)), log_prior(z)), half_square, rtol=1e-5
    )


def test_beta_and_the_terms():
    terms = avb.terms(jnp.array([-3.0, -1.0]), jnp.array([0.5, -2.0]), 0.5)
    np.testing.assert_allclose(terms.elbo, [-3.25, 0.0])
    assert avb.loss(terms.log_likelihood, terms.kl, 0.5) == pytest.approx(1.625)
    beta = elbo.warm_up(0, num_steps=10)
    assert avb.loss(terms.log_likelihood, terms.kl, beta) == 2.0


def test_the_optimal_critic_is_a_stationary_point_of_its_loss():
    """One latent, q = N(.5, .7^2), p = N(0, 1): T = w . (1, z, z^2); by quadrature over
    equal-probability points."""
    points = jax.scipy.stats.norm.ppf((jnp.arange(20_000) + 0.5) / 20_000)
    best = jnp.array([-np.log(0.7) - 0.125 / 0.49, 0.5 / 0.49, (1 - 1 / 0.49) / 2])

    def loss(w):
        logits = [
            jnp.stack([jnp.ones_like(z), z, z * z], -1) @ w for z in (0.5 + 0.7 * points, points)
        ]
        return avb.critic_loss(*logits)

    np.testing.assert_allclose(jax.grad(loss)(best), 0, atol=1e-4)
    assert jnp.abs(jax.grad(loss)(best + 0.05)).max() > 1e-3
    np.testing.assert_allclose(loss(best), 1.256670, atol=1e-4)
    assert loss(-best) > 2 * np.log(2)  # the labels the wrong way round


def test_moments_are_those_of_each_posterior_and_carry_no_gradient():
    samples = 3.0 + 0.01 * normal(jax.random.key(4), (50, 4, 2)) * jnp.arange(1.0, 3.0)
    found = avb.moments(samples, 1e-3)
    np.testing.assert_allclose(found.loc, samples.mean(0), rtol=1e-6)
    np.testing.assert_allclose(
        found.scale, np.sqrt(np.asarray(samples).var(0, ddof=1) + 1e-3), rtol=1e-4
    )
    assert np.all(
        jax.grad(lambda s: jnp.sum(avb.moments(s).scale) + jnp.sum(avb.moments(s).loc))(samples)
        == 0
    )
    z = samples[0]
    slopes = jax.grad(
        lambda c: jnp.sum(avb.contrast_log_prob(z, c)) + jnp.sum(avb.normalize(z, c))
    )(found)
    assert all(np.all(s == 0) for s in slopes)


@pytest.mark.parametrize("epsilon", [0.0, 1e-6, 0.3])
def test_one_scale_in_both_places(epsilon):
    """log r(z) is the standard normal log-density at the normalised z less sum log scale: whatever
    epsilon."""
    samples = 1e-2 * normal(jax.random.key(5), (40, 3, LATENTS))
    contrast = avb.moments(samples, epsilon)
    z = samples[:7]
    expected = log_prior(avb.normalize(z, contrast)) - jnp.sum(jnp.log(contrast.scale), -1)
    np.testing.assert_allclose(avb.contrast_log_prob(z, contrast), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_adaptive_contrast_is_the_same_kl(epsilon):
    """With T_r* = log q - log r each draw is log q - log p, whatever r; r = q makes T_r* zero and
    the bound exact."""
    loc, scale = encode(PARAMS)
    noise = noises(4, 6)
    z = loc + scale * noise
    contrast = avb.moments(z, epsilon)
    logits = log_q(z, PARAMS) - avb.contrast_log_prob(z, contrast)
    direct = log_q(z, PARAMS) - log_prior(z)
    np.testing.assert_allclose(
        avb.adaptive_kl(logits, z, contrast, log_prior(z)), direct, rtol=1e-5, atol=1e-5
    )
    own = avb.Contrast(loc, scale)
    np.testing.assert_allclose(log_q(z, PARAMS) - avb.contrast_log_prob(z, own), 0, atol=1e-6)
    np.testing.assert_allclose(
        avb.adaptive_kl(jnp.zeros(z.shape[:-1]), z, own, log_prior(z)), direct, atol=1e-5
    )


def test_moment_matched_contrast_and_no_critic_give_the_elbo_in_closed_form():
    """A3: draws with the posterior's exact mean and variance, so that averages of quadratics are
    exact."""
    loc, scale = encode(PARAMS)
    signs = jnp.asarray(np.array(np.meshgrid([-1, 1], [-1, 1])).reshape(2, -1).T, jnp.float32)
    samples = loc + scale * signs[:, None] * np.sqrt(3 / 4)  # unbiased variance of +-1 is 4/3
    contrast = avb.moments(samples, 0.0)
    np.testing.assert_allclose(contrast.scale, scale, rtol=1e-5)
    z = loc + scale * signs[:, None]
    kl = avb.adaptive_kl(jnp.zeros(z.shape[:-1]), z, contrast, log_prior(z))
    got = jnp.mean(avb.terms(log_likelihood(z), kl).elbo, axis=0)
    fit = jnp.sum(gaussian.log_prob(X, loc @ W.T, NOISE), -1) - jnp.sum(scale**2 @ (W**2).T, -1) / (
        2 * NOISE**2
    )
    np.testing.assert_allclose(got, fit - jnp.sum(gaussian.kl(loc, scale, 0.0, 1.0), -1), rtol=1e-5)


def posterior_of_the_linear_model():
    precision = np.eye(LATENTS) + np.asarray(W).T @ W / NOISE**2
    covariance = np.linalg.inv(precision)
    return np.asarray(X) @ np.asarray(W) @ covariance / NOISE**2, covariance


def test_at_the_exact_posterior_every_draw_is_log_p_and_nothing_moves():
    """Prop. 3: T* = log p(x, z) - log p(x) - log p(z), the bound is log p(x), and the encoder's
    gradient is zero."""
    mean, covariance = posterior_of_the_linear_model()
    log_p = multivariate_normal(
        np.zeros(PIXELS), np.asarray(W) @ W.T + NOISE**2 * np.eye(PIXELS)
    ).logpdf(X)
    root = jnp.asarray(np.linalg.cholesky(covariance), jnp.float32)
    inverse = jnp.asarray(np.linalg.inv(np.linalg.cholesky(covariance)), jnp.float32)
    mean = jnp.asarray(mean, jnp.float32)

    def bound(parameters, noise):
        shift, root_q = parameters
        z = shift + noise @ root_q.T
        white = (z - mean) @ inverse.T
        log_posterior = log_prior(white) + jnp.sum(jnp.log(jnp.diagonal(inverse)))
        return avb.terms(log_likelihood(z), log_posterior - log_prior(z)).elbo

    for noise in noises(4, 7):
        np.testing.assert_allclose(bound((mean, root), noise), log_p, rtol=2e-5)
        slopes = jax.grad(lambda p, noise=noise: jnp.mean(bound(p, noise)))((mean, root))
        assert all(np.abs(s).max() < 1e-4 for s in slopes)


def test_the_contrast_as_a_proposal_bounds_log_p_without_the_critic():
    mean, covariance = posterior_of_the_linear_model()
    log_p = multivariate_normal(
        np.zeros(PIXELS), np.asarray(W) @ W.T + NOISE**2 * np.eye(PIXELS)
    ).logpdf(X)
    samples = (
        np.random.default_rng(11).multivariate_normal(np.zeros(2), covariance, (500, len(X))) + mean
    )
    contrast = avb.moments(jnp.asarray(samples, jnp.float32))
    z = avb.contrast_sample(jax.random.key(8), contrast, 20_000)
    assert z.shape == (20_000, len(X), LATENTS)
    log_weights = avb.contrast_log_weights(log_likelihood(z), log_prior(z), z, contrast)
    np.testing.assert_allclose(iwae.bound(log_weights), log_p, atol=0.05)
    gap = log_p - np.asarray(log_weights).mean(0)
    assert np.all(gap > 0.01) and np.all(gap < 1)  # a mean-field Gaussian is not the posterior


def test_losses_under_jit_and_vmap_over_seeds():
    noise = noises(3)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(oracle_loss, (None, 0)))(PARAMS, noise),
        [oracle_loss(PARAMS, n) for n in noise],
        rtol=1e-6,
    )
    doubled = avb.loss(jnp.array([1.0, 2.0, 1.0, 2.0]), jnp.array([0.5, 0.0, 0.5, 0.0]))
    assert doubled == avb.loss(jnp.array([1.0, 2.0]), jnp.array([0.5, 0.0]))


def test_input_that_does_not_fit_is_named():
    with pytest.raises(ConfigError, match=r"raw_logits \(3,\), prior_log_prob \(3, 2\)"):
        avb.with_prior(jnp.zeros(3), jnp.zeros((3, 2)))
    with pytest.raises(ConfigError, match=r"log_likelihood \(3,\), logits \(3, 1\)"):
        avb.loss(jnp.zeros(3), jnp.zeros((3, 1)))
    with pytest.raises(ConfigError, match="S at least 2"):
        avb.moments(jnp.zeros((1, 3, 2)))
    with pytest.raises(ConfigError, match="epsilon"):
        avb.moments(jnp.zeros((4, 3, 2)), -1.0)
    contrast = avb.Contrast(jnp.zeros((3, 2)), jnp.ones((3, 2)))
    with pytest.raises(ConfigError, match="one value for each draw"):
        avb.adaptive_kl(jnp.zeros(3), jnp.zeros((4, 3, 2)), contrast, jnp.zeros((4, 3)))
    with pytest.raises(ConfigError, match="num_samples"):
        avb.contrast_sample(jax.random.key(0), contrast, 0)
