"""Gradients of bounds on the linear-Gaussian model against closed forms, score identities and each
other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from dgm_jax.core import ConfigError, normal
from dgm_jax.densities import gaussian
from dgm_jax.objectives import path_derivatives
from dgm_jax.objectives.free_bits import free_bits

NOISE, NUM = 0.5, 20_000
W = np.random.default_rng(7).normal(size=(5, 2))
X = (
    np.random.default_rng(8).normal(size=(3, 5))
    @ np.linalg.cholesky(W @ W.T + NOISE**2 * np.eye(5)).T
).astype(np.float32)
PARAMS = {
    "loc": jnp.asarray(np.random.default_rng(1).normal(size=(3, 2)), jnp.float32) * 0.3,
    "log_scale": jnp.array([[-0.5, -1.0], [0.1, -0.7], [-1.2, -0.2]]),
    "weight": jnp.asarray(W, jnp.float32),
}


def log_joint_of(params):
    def log_joint(z):
        mean = jnp.einsum("sbd,pd->sbp", z, params["weight"])
        return jnp.sum(gaussian.log_prob(z, 0.0, 1.0), -1) + jnp.sum(
            gaussian.log_prob(X, mean, NOISE), -1
        )

    return log_joint


def bound(name, params, noise):
    """Sum over the three rows; noise [S, 3, 2]."""
    posterior = params["loc"], jnp.exp(params["log_scale"])
    z = posterior[0] + posterior[1] * noise
    return jnp.sum(
        path_derivatives.BOUNDS[name](
            z, posterior, log_joint_of(params), path_derivatives.gaussian_log_q
        )
    )


def gradients(name, num_samples, num=NUM, params=None, seed=0):
    noise = normal(jax.random.key(seed), (num, num_samples, 3, 2))
    run = jax.jit(jax.vmap(jax.value_and_grad(lambda p, e: bound(name, p, e)), (None, 0)))
    return run(PARAMS if params is None else params, noise)


def assert_close_in_mean(a, b, errors=4.5):
    """Means over the first axis within standard errors; b may be exact."""
    for name in a:
        spread = np.asarray(a[name]).std(0) / np.sqrt(len(a[name]))
        other = np.asarray(b[name])
        if other.ndim == a[name].ndim:
            spread, other = np.hypot(spread, other.std(0) / np.sqrt(len(other))), other.mean(0)
        assert np.all(np.abs(np.asarray(a[name]).mean(0) - other) < errors * spread + 1e-4), name


def closed_elbo(params):
    loc, scale = params["loc"], jnp.exp(params["log_scale"])
    fit = jnp.sum(gaussian.log_prob(X, loc @ params["weight"].T, NOISE), -1)
    spread = jnp.sum(scale**2 @ (params["weight"] ** 2).T, -1) / (2 * NOISE**2)
    return jnp.sum(fit - spread - jnp.sum(gaussian.kl(loc, scale, 0.0, 1.0), -1))


@pytest.mark.parametrize("name", ["elbo", "sticking_the_landing"])
def test_gradients_of_the_elbo_have_the_closed_form_as_their_mean(name):
    value, slopes = gradients(name, 2)
    assert abs(value.mean() - closed_elbo(PARAMS)) < 4 * value.std() / np.sqrt(NUM)
    assert_close_in_mean(slopes, jax.grad(closed_elbo)(PARAMS))


def test_values_and_model_gradients_do_not_depend_on_the_estimator():
    for plain, path, num in (
        ("elbo", "sticking_the_landing", 3),
        ("importance_weighted", "doubly_reparameterized", 8),
    ):
        (value, slopes), (other_value, other) = gradients(plain, num, 50), gradients(path, num, 50)
        np.testing.assert_allclose(value, other_value, rtol=1e-5)
        np.testing.assert_allclose(slopes["weight"], other["weight"], rtol=1e-3, atol=1e-3)
        assert np.abs(slopes["loc"] - other["loc"]).max() > 0.1


@pytest.mark.parametrize("num_samples", [1, 2, 16])
def test_importance_weighted_gradients_agree_in_the_mean(num_samples):
    _, plain = gradients("importance_weighted", num_samples)
    _, doubly = gradients("doubly_reparameterized", num_samples, seed=1)
    assert_close_in_mean(plain, doubly)
    if num_samples == 1:
        assert_close_in_mean(doubly, jax.grad(closed_elbo)(PARAMS))


@pytest.mark.parametrize("beta", [0.3, 2.0])
def test_with_a_factor_on_the_rate_gradients_still_agree_in_the_mean(beta):
    """log w = log p(x | z) + beta (log p(z) - log q(z | x)), with the plain derivative of its
    importance-weighted bound as the truth."""

    def tempered(params, noise, name):
        posterior = params["loc"], jnp.exp(params["log_scale"])

        def joint(z):
            mean = jnp.einsum("sbd,pd->sbp", z, params["weight"])
            fit = jnp.sum(gaussian.log_prob(X, mean, NOISE), -1)
            return fit + beta * jnp.sum(gaussian.log_prob(z, 0.0, 1.0), -1)

        z = posterior[0] + posterior[1] * noise
        log_q = path_derivatives.gaussian_log_q
        if name == "plain":
            weights = joint(z) - beta * log_q(posterior, z)
            return jnp.sum(jax.nn.logsumexp(weights, axis=0))
        return jnp.sum(path_derivatives.BOUNDS[name](z, posterior, joint, log_q, beta))

    def slopes(name, seed):
        noise = normal(jax.random.key(seed), (NUM, 4, 3, 2))
        one = jax.grad(lambda params, e: tempered(params, e, name))
        return jax.jit(jax.vmap(one, (None, 0)))(PARAMS, noise)

    plain = slopes("plain", 0)
    assert_close_in_mean(plain, slopes("doubly_reparameterized", 1))
    same = slopes("importance_weighted", 0)
    np.testing.assert_allclose(plain["weight"], same["weight"], rtol=1e-3, atol=1e-3)


def test_doubly_reparameterized_is_the_sum_of_squared_shares_times_paths():
    """Tucker et al.'s formula in numpy, draw by draw."""
    noise = np.asarray(normal(jax.random.key(2), (6, 3, 2)), np.float64)
    loc, scale = (
        np.asarray(PARAMS["loc"], np.float64),
        np.exp(np.asarray(PARAMS["log_scale"], np.float64)),
    )
    z = loc + scale * noise
    log_w = np.asarray(log_joint_of(PARAMS)(jnp.asarray(z, jnp.float32)), np.float64)
    log_w -= (-(noise**2) / 2 - np.log(scale) - np.log(2 * np.pi) / 2).sum(-1)
    share = np.exp(log_w - log_w.max(0))
    share /= share.sum(0)
    path = -z + (X - z @ W.T) @ W / NOISE**2 + noise / scale
    expected = share[..., None] ** 2 * path
    _, got = jax.value_and_grad(
        lambda p: bound("doubly_reparameterized", p, jnp.asarray(noise, jnp.float32))
    )(PARAMS)
    np.testing.assert_allclose(got["loc"], expected.sum(0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        got["log_scale"], (expected * scale * noise).sum(0), rtol=1e-3, atol=1e-3
    )


def exact_model():
    """A model with orthogonal columns has a diagonal posterior."""
    weight = np.linalg.qr(W)[0] * np.array([1.0, 2.0])
    variance = 1 / (1 + (weight**2).sum(0) / NOISE**2)
    return weight, {
        "loc": jnp.asarray(X @ weight * variance / NOISE**2, jnp.float32),
        "log_scale": jnp.asarray(np.log(np.sqrt(np.broadcast_to(variance, (3, 2)))), jnp.float32),
        "weight": jnp.asarray(weight, jnp.float32),
    }


def test_near_the_posterior_doubly_reparameterized_varies_less_and_its_signal_does_not_fade():
    """K = 64, each parameter of the encoder off by about a tenth."""
    parts = ("loc", "log_scale")
    near = exact_model()[1]
    for seed, part in enumerate(parts):
        near[part] = near[part] + 0.1 * normal(jax.random.key(seed), near[part].shape)
    plain, doubly = (
        gradients(name, 64, 3000, near)[1]
        for name in ("importance_weighted", "doubly_reparameterized")
    )
    for part in parts:
        assert np.all(doubly[part].std(0) < 0.5 * plain[part].std(0))

    def signal(slopes):
        return np.mean(
            [np.abs(s.mean(0)).mean() / s.std(0).mean() for s in (slopes[part] for part in parts)]
        )

    few = [
        gradients(name, 4, 3000, near)[1]
        for name in ("importance_weighted", "doubly_reparameterized")
    ]
    assert signal(doubly) > signal(few[1]) and signal(plain) < signal(few[0])


def test_at_the_exact_posterior_the_path_derivative_has_no_variance():
    weight, exact = exact_model()
    log_p = (
        multivariate_normal(np.zeros(5), weight @ weight.T + NOISE**2 * np.eye(5)).logpdf(X).sum()
    )
    for name in path_derivatives.BOUNDS:
        value, slopes = gradients(name, 4, 200, exact)
        np.testing.assert_allclose(value, log_p, rtol=1e-5)
        largest = max(float(np.abs(slopes[part]).max()) for part in ("loc", "log_scale"))
        if name in ("sticking_the_landing", "doubly_reparameterized"):
            assert largest < 2e-4, name
        else:
            assert largest > 0.5, name  # the score: mean zero, and not zero


def test_far_weights_stay_finite():
    """Log-weights hundreds of nats apart, and one draw with none."""
    posterior = jnp.zeros(2), jnp.ones(2)
    z = jnp.array([[0.0, 0.0], [40.0, -30.0], [1.0, 2.0]])[:, None]

    def log_joint(z):
        return jnp.where(z[..., 0] > 30, -jnp.inf, -jnp.sum(z**2, -1) * 100)

    for name, fn in path_derivatives.BOUNDS.items():
        if name in ("importance_weighted", "doubly_reparameterized"):
            value, slope = jax.value_and_grad(
                lambda z, fn=fn: fn(z, posterior, log_joint, path_derivatives.gaussian_log_q)[0]
            )(z)
            assert np.isfinite(value) and np.isfinite(slope).all(), name


def test_free_bits():
    kl = jnp.array([[0.1, 2.0, 0.0], [0.5, 1.0, 0.4]])
    assert free_bits(kl, 0.25) == pytest.approx(0.3 + 1.5 + 0.25)
    assert free_bits(kl, 0.25, per_example=True) == pytest.approx(
        ((0.25 + 2.0 + 0.25) + (0.5 + 1.0 + 0.4)) / 2
    )
    assert free_bits(kl, 0.0) == pytest.approx(2.0) and free_bits(
        kl, 0.0, per_example=True
    ) == pytest.approx(2.0)
    slope = jax.jit(jax.grad(free_bits))(kl, 0.25)
    np.testing.assert_allclose(slope, [[0.5, 0.5, 0.0]] * 2)
    np.testing.assert_allclose(
        jax.grad(lambda k: free_bits(k, 0.25, per_example=True))(kl),
        [[0.0, 0.5, 0.0], [0.5, 0.5, 0.5]],
    )
    assert free_bits(jnp.concatenate([kl, kl]), 0.25) == free_bits(kl, 0.25)
    with pytest.raises(ConfigError, match=r"\[B, J\].*got \(3,\)"):
        free_bits(jnp.zeros(3), 0.1)
    with pytest.raises(ConfigError, match="floor must not be negative; got -1"):
        free_bits(kl, -1)


def test_input_that_does_not_fit_is_named():
    for fn in path_derivatives.BOUNDS.values():
        with pytest.raises(ConfigError, match=r"got \(4,\) and \(4, 3\)"):
            fn(jnp.zeros((4, 3, 2)), None, lambda z: jnp.zeros(4), lambda p, z: jnp.zeros((4, 3)))
