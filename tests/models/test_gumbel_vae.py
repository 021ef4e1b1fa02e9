"""The VAE with categorical latents against enumeration of its latents, in float64 numpy."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import likelihood, sampling
from dgm_jax.core import ConfigError
from dgm_jax.models import GumbelVae, exact_log_prob, gumbel_bounds, gumbel_vae
from dgm_jax.models.latent import log_weights
from dgm_jax.networks import MLP, from_flax, reshaped

SHAPE = (2, 3, 1)
VAE = GumbelVae(
    reshaped(from_flax(MLP((6,))), (2, 3)), reshaped(from_flax(MLP((6,))), SHAPE), (2,), 3
)
X = jnp.asarray(np.random.default_rng(0).integers(0, 2, (4, *SHAPE)), jnp.float32)


@functools.cache
def trained_a_little():
    """Weights far enough from zero that posterior and likelihood depend on what they see."""
    model = gumbel_vae(VAE, SHAPE)
    params, state = model.init(jax.random.key(1))
    return jax.tree.map(lambda w: 3 * w, params), state


def by_enumeration(params, x):
    """(elbo, log p, KL) of each example, in float64."""
    w = {
        part: {k: np.asarray(v, np.float64) for k, v in params[part]["Dense_0"].items()}
        for part in params
    }
    rows = []
    for row in np.asarray(x, np.float64).reshape(len(x), -1):
        logits = (row @ w["encoder"]["kernel"] + w["encoder"]["bias"]).reshape(2, 3)
        q = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        likelihoods, weights = [], []
        for codes in itertools.product(range(3), repeat=2):
            z = np.concatenate([np.eye(3)[c] for c in codes])
            out = z @ w["decoder"]["kernel"] + w["decoder"]["bias"]
            likelihoods.append(np.sum(row * out - np.log1p(np.exp(out))))
            weights.append(np.prod([q[i, c] for i, c in enumerate(codes)]))
        kl = np.sum(q * (np.log(q) + np.log(3)))
        rows.append(
            (np.dot(weights, likelihoods) - kl, np.logaddexp.reduce(likelihoods) - np.log(9), kl)
        )
    return np.array(rows).T


def test_the_loss_of_the_exact_estimator_is_the_negative_bound():
    params, state = trained_a_little()
    model = gumbel_vae(VAE, SHAPE, estimator="exact")
    batch = {"x": X, "step": jnp.int32(0)}
    loss, aux = model.players["vae"].loss(params, state, batch, jax.random.key(0))
    elbo, _, kl = by_enumeration(params, X)
    np.testing.assert_allclose(loss, -elbo.mean(), rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["kl"], kl.mean(), rtol=1e-5)


def test_its_gradient_is_that_of_the_enumerated_bound():
    params, state = trained_a_little()
    model = gumbel_vae(VAE, SHAPE, estimator="exact")
    batch = {"x": X, "step": jnp.int32(0)}
    gradient = jax.grad(lambda p: model.players["vae"].loss(p, state, batch, jax.random.key(0))[0])(
        params
    )
    for part, name, place in (
        ("encoder", "kernel", (2, 4)),
        ("encoder", "bias", (1,)),
        ("decoder", "kernel", (5, 0)),
    ):
        ends = []
        for sign in (1, -1):
            moved = jax.tree.map(lambda w: np.array(w, np.float64), params)
            moved[part]["Dense_0"][name][place] += sign * 1e-5
            ends.append(-by_enumeration(moved, X)[0].mean())
        np.testing.assert_allclose(
            gradient[part]["Dense_0"][name][place], (ends[0] - ends[1]) / 2e-5, rtol=1e-3, atol=1e-6
        )


def test_unbiased_estimators_have_that_gradient_on_average_and_relaxed_ones_do_not():
    params, state = trained_a_little()
    batch = {"x": X, "step": jnp.int32(0)}

    def gradients(name, keys):
        model = gumbel_vae(VAE, SHAPE, estimator=name)
        one = lambda key: jax.grad(lambda p: model.players["vae"].loss(p, state, batch, key)[0])(
            params
        )
        return jax.tree.leaves(jax.jit(jax.vmap(one))(keys))

    exact = [g[0] for g in gradients("exact", jax.random.split(jax.random.key(2), 1))]
    keys = jax.random.split(jax.random.key(3), 20_000)

    def deviation(name):
        """Largest distance to the exact gradient, in standard errors."""
        found = []
        for mine, truth in zip(gradients(name, keys), exact, strict=True):
            error = jnp.std(mine, axis=0) / np.sqrt(len(keys)) + 1e-6
            found.append(jnp.max(jnp.abs(jnp.mean(mine, axis=0) - truth) / error))
        return max(map(float, found))

    assert deviation("score_function_leave_one_out") < 5
    assert deviation("rebar") < 5
    assert deviation("gumbel_softmax") > 20


def test_bounds_and_log_p():
    params, state = trained_a_little()
    x = X
    elbo, log_p, kl = by_enumeration(params, X)
    np.testing.assert_allclose(exact_log_prob(VAE, params, state, x), log_p, rtol=1e-5)
    many = jax.vmap(lambda key: gumbel_bounds(key, VAE, params, state, x, 0.5))(
        jax.random.split(jax.random.key(4), 4000)
    )
    np.testing.assert_allclose(many["hard"].kl[0], kl, rtol=1e-5)
    error = np.std(many["hard"].elbo, axis=0) / np.sqrt(4000)
    assert np.all(np.abs(np.mean(many["hard"].elbo, axis=0) - elbo) < 4.5 * error)
    assert np.max(np.abs(np.mean(many["relaxed"].elbo, axis=0) - elbo)) > 0.1  # another model
    weights = lambda key, x, num: log_weights(key, VAE, params, state, x, num)
    found = likelihood.importance_weighted(
        jax.random.key(5), weights, x, 20_000, samples_at_once=1000
    )
    error = np.sqrt(1 / np.asarray(found.effective_sample_size) - 1 / 20_000)
    assert np.all(np.abs(found.log_prob - log_p) < 4.5 * error + 1e-5)


def test_samples_follow_the_prior():
    """The mean image is the mean of p(x | z) over all nine latents."""
    params, state = trained_a_little()
    model = gumbel_vae(VAE, SHAPE)
    codes = np.array(list(itertools.product(range(3), repeat=2)))
    every = model.decode(params, state, jnp.asarray(np.eye(3)[codes], jnp.float32))
    images = np.asarray(model.sample(params, state, jax.random.key(6), 20_000))
    assert images.shape == (20_000, *SHAPE)
    error = images.std(0) / np.sqrt(len(images)) + 1e-6
    assert np.all(np.abs(images.mean(0) - np.mean(every, axis=0)) < 4.5 * error)


def test_the_temperature_follows_the_step():
    params, state = trained_a_little()
    schedule = functools.partial(sampling.temperature.linear, start=1.0, end=0.5, num_steps=10)
    loss = gumbel_vae(VAE, SHAPE, temperature=schedule).players["vae"].loss
    for step, expected in ((0, 1.0), (5, 0.75), (20, 0.5)):
        _, aux = loss(params, state, {"x": X, "step": jnp.int32(step)}, jax.random.key(0))
        np.testing.assert_allclose(aux.metrics["temperature"], expected)


def test_bad_input():
    with pytest.raises(ConfigError, match="gumbel_softmax"):
        gumbel_vae(VAE, SHAPE, estimator="gumbel_softmaxx")
    with pytest.raises(ConfigError, match=r"images \(2, 3, 1\), but examples are \(3, 2, 1\)"):
        gumbel_vae(VAE, (3, 2, 1)).init(jax.random.key(0))
    with pytest.raises(
        ConfigError, match=r"logits \(2, 3\), but latent_shape and num_classes say \(3, 2\)"
    ):
        gumbel_vae(VAE._replace(latent_shape=(3,), num_classes=2), SHAPE).init(jax.random.key(0))
    with pytest.raises(ConfigError, match="likelihood"):
        gumbel_vae(VAE._replace(likelihood="gauss"), SHAPE)
    params, state = trained_a_little()
    with pytest.raises(ConfigError, match=r"3\^2 = 9"):
        exact_log_prob(VAE, params, state, X, max_configurations=8)
