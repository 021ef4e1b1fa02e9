"""The discrete VAE: its loss against numpy at the same noise, schedules, tokens, and a player that
reads tokens."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dgm_jax import sampling
from dgm_jax.core import Aux, ConfigError, Player
from dgm_jax.models import (
    GumbelVae,
    decode_tokens,
    discrete_vae,
    gumbel_bounds,
    on_tokens,
    tokens_of,
)
from dgm_jax.networks import MLP, from_flax, reshaped
from dgm_jax.objectives.elbo import warm_up

SHAPE, GRID, K = (2, 2, 1), (1, 2), 3
VAE = GumbelVae(
    reshaped(from_flax(MLP((6,))), (1, 2, K)),
    reshaped(from_flax(MLP((8,))), (2, 2, 2)),
    GRID,
    K,
    "logit_laplace",
)
X = jnp.asarray(np.random.default_rng(0).uniform(size=(5, *SHAPE)), jnp.float32)
TAU = functools.partial(sampling.temperature.cosine, start=1.0, end=0.25, num_steps=100)
BETA = functools.partial(warm_up, end=3.0, num_steps=50)


def model(**settings):
    return discrete_vae(VAE, SHAPE, temperature=TAU, beta=BETA, **settings)


@functools.cache
def fresh():
    params, state = model().init(jax.random.key(0))
    return jax.tree.map(lambda w: 2 * w, params), state


def by_numpy(params, z):
    """log p(x | z) by scipy's Laplace law of logit(.8 x + .1), with the change of variables written
    out."""
    w = {k: np.asarray(v, np.float64) for k, v in params["decoder"]["Dense_0"].items()}
    out = (np.asarray(z, np.float64).reshape(5, -1) @ w["kernel"] + w["bias"]).reshape(5, 2, 2, 2)
    v = 0.8 * np.asarray(X, np.float64)[..., 0] + 0.1
    density = scipy.stats.laplace.logpdf(np.log(v / (1 - v)), out[..., 0], np.exp(out[..., 1]))
    return (density - np.log(v * (1 - v)) + np.log(0.8)).sum((1, 2))


def posterior(params):
    w = {k: np.asarray(v, np.float64) for k, v in params["encoder"]["Dense_0"].items()}
    logits = (np.asarray(X, np.float64).reshape(5, -1) @ w["kernel"] + w["bias"]).reshape(
        5, 1, 2, K
    )
    return logits, np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


@pytest.mark.parametrize("relaxation", ["soft", "straight_through"])
def test_the_loss_at_its_noise(relaxation):
    params, state = fresh()
    key, step = jax.random.key(5), 25
    loss, aux = (
        model(relaxation=relaxation)
        .players["autoencoder"]
        .loss(params, state, {"x": X, "step": step}, key)
    )
    logits, q = posterior(params)
    tau, beta = 0.25 + 0.75 * (1 + np.cos(np.pi / 4)) / 2, 1.5
    z = (
        np.asarray(sampling.perturbed_logits(key, jnp.asarray(logits, jnp.float32)), np.float64)
        / tau
    )
    z = np.exp(z - z.max(-1, keepdims=True))
    z = z / z.sum(-1, keepdims=True) if relaxation == "soft" else (z == 1.0)
    kl = (q * np.log(q * K)).sum((1, 2, 3))
    np.testing.assert_allclose(loss, np.mean(beta * kl - by_numpy(params, z)), rtol=1e-4)
    np.testing.assert_allclose(
        aux.metrics["relaxed_elbo"], np.mean(by_numpy(params, z) - kl), rtol=1e-4
    )
    np.testing.assert_allclose(aux.metrics["temperature"], tau, rtol=1e-6)


def test_tokens_and_their_images():
    params, state = fresh()
    tokens = tokens_of(VAE, params, state, X)
    np.testing.assert_array_equal(tokens, posterior(params)[0].argmax(-1))
    w = {k: np.asarray(v, np.float64) for k, v in params["decoder"]["Dense_0"].items()}
    out = np.eye(K)[np.asarray(tokens)].reshape(5, -1) @ w["kernel"] + w["bias"]
    loc = out.reshape(5, 2, 2, 2)[..., :1]
    np.testing.assert_allclose(
        decode_tokens(VAE, params, state, tokens),
        np.clip((1 / (1 + np.exp(-loc)) - 0.1) / 0.8, 0, 1),
        atol=1e-5,
    )


def test_the_functions_of_the_categorical_vae_serve_it():
    params, state = fresh()
    found = gumbel_bounds(jax.random.key(1), VAE, params, state, X, 0.5)
    q = posterior(params)[1]
    np.testing.assert_allclose(found["hard"].kl, (q * np.log(q * K)).sum((1, 2, 3)), rtol=1e-4)
    perturbed = sampling.perturbed_logits(
        jax.random.key(1), jnp.asarray(posterior(params)[0], jnp.float32)
    )
    hard = np.eye(K)[np.asarray(perturbed).argmax(-1)]
    np.testing.assert_allclose(found["hard"].log_likelihood, by_numpy(params, hard), rtol=1e-4)


def test_a_player_on_tokens_reads_codes_and_leaves_the_tokeniser_alone():
    def loss(params, state, batch, key):
        return params["own"] * jnp.sum(batch["x"]), Aux(state, {"text": batch["text"]})

    params, state = fresh()
    params = {**params, "own": jnp.float32(2.0)}
    player = on_tokens(Player(("own",), loss), VAE)
    batch = {"x": X, "text": jnp.float32(7.0)}
    (value, aux), gradient = jax.value_and_grad(player.loss, has_aux=True)(
        params, state, batch, jax.random.key(0)
    )
    np.testing.assert_allclose(value, 2 * posterior(params)[0].argmax(-1).sum())
    assert player.parts == ("own",) and aux.metrics["text"] == 7.0
    assert all(
        np.all(g == 0) for part in ("encoder", "decoder") for g in jax.tree.leaves(gradient[part])
    )


def test_bad_input():
    with pytest.raises(ConfigError, match="relaxation"):
        model(relaxation="hard")
    with pytest.raises(ConfigError, match="likelihood"):
        discrete_vae(VAE._replace(likelihood="laplace"), SHAPE, temperature=TAU, beta=BETA)
