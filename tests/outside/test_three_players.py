"""A family of three players with batch normalization and dropout, made outside of the library."""

import functools
import pathlib

import bigan
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import training
from dgm_jax.core import SOLO, Task, named_key, normal
from dgm_jax.objectives.gan import LOSSES

MEAN = np.array([2.0, -1.0, 0.5, 0.0], np.float32)
LATENTS = 2
MODEL = bigan.bigan(LATENTS, len(MEAN), LOSSES["non_saturating"])


def draw(data, data_key, index):
    key = jax.random.fold_in(data_key, index)
    return {"x": MEAN + 0.3 * normal(key, (64, len(MEAN)))}


def evaluate(train_state, data, key):
    x = MODEL.sample(train_state.params, train_state.state, key, 2_000)
    return {"mean": jnp.mean(x, axis=0)}


def task(hyper):
    rate = hyper["learning_rate"]
    optimizers = {name: optax.adam(rate, 0.5) for name in MODEL.players}
    algorithm = functools.partial(training.alternating, MODEL.players, optimizers)
    return Task(MODEL.init, draw, algorithm, evaluate, batch_coupling="batch normalization")


@functools.cache
def trained():
    keys, hyper = jax.random.split(jax.random.key(0), 2), {"learning_rate": jnp.full(2, 1e-3)}
    return training.train(task, keys, (), 400, hyper=hyper, chunk_steps=200)


def test_the_file_is_short():
    lines = pathlib.Path(bigan.__file__).read_text("utf-8").splitlines()
    assert len(lines) <= 120


def test_every_player_reports_under_its_name():
    losses = {f"{player}.loss" for player in MODEL.players}
    metrics = {"discriminator.real_logit", "discriminator.fake_logit", "encoder.reconstruction"}
    assert set(trained().metrics) == losses | metrics
    assert all(value.shape == (2, 2) for value in trained().metrics.values())


def test_it_learns_where_the_data_are():
    assert np.all(np.asarray(trained().lanes.failed_at) == -1)
    start = MODEL.sample(*MODEL.init(jax.random.key(1)), jax.random.key(2), 2_000)
    before = np.linalg.norm(np.mean(np.asarray(start), axis=0) - MEAN)
    after = np.linalg.norm(trained().evaluation["mean"] - MEAN, axis=1)
    assert np.all(after < 0.5) and before > 1


@pytest.mark.parametrize("player", [bigan.GENERATOR, bigan.ENCODER])
def test_one_step_moves_the_batch_statistics_by_a_tenth_of_the_way(player):
    """The running mean after one step is a tenth of the batch's mean at the first layer, of the
    player's own pass alone."""
    algorithm = task({"learning_rate": 0.0}).algorithm(SOLO)
    start = algorithm.init(jax.random.key(3), *MODEL.init(jax.random.key(4)))
    batch = draw((), jax.random.key(5), 0)
    moved, _ = jax.jit(lambda now: algorithm.step(now, lambda index: batch))(start)
    dense = start.params[player]["Dense_0"]
    if player == bigan.ENCODER:
        inputs = batch["x"]
    else:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(start.key, 0), 1), 0)
        inputs = normal(named_key(key, "z"), (64, LATENTS))
    hidden = np.asarray(inputs @ dense["kernel"] + dense["bias"])
    mean = moved.state[player]["batch_stats"]["BatchNorm_0"]["mean"]
    np.testing.assert_allclose(mean, 0.1 * hidden.mean(0), atol=1e-6)


def test_the_discriminators_dropout_draws_from_the_losses_key():
    """The loss equals that of the flax modules called by hand with the same streams."""
    params, state = MODEL.init(jax.random.key(6))
    batch, key = draw((), jax.random.key(7), 0), jax.random.key(8)
    loss = jax.jit(MODEL.players[bigan.DISCRIMINATOR].loss)
    z = normal(named_key(key, "z"), (64, LATENTS))
    outputs = {}
    for part, size, inputs in (
        (bigan.GENERATOR, len(MEAN), z),
        (bigan.ENCODER, LATENTS, batch["x"]),
    ):
        variables = {"params": params[part], **state[part]}
        outputs[part], _ = bigan.Normalized(size).apply(
            variables, inputs, train=True, mutable=["batch_stats"]
        )
    pairs = jnp.concatenate(
        [
            jnp.concatenate([batch["x"], outputs[bigan.ENCODER]], 1),
            jnp.concatenate([outputs[bigan.GENERATOR], z], 1),
        ]
    )
    module, variables = bigan.Dropped(), {"params": params[bigan.DISCRIMINATOR]}
    streams = {"dropout": named_key(key, bigan.DISCRIMINATOR)}
    scores = np.asarray(module.apply(variables, pairs, deterministic=False, rngs=streams))
    expected = np.log1p(np.exp(-scores[:64])).mean() + np.log1p(np.exp(scores[64:])).mean()
    np.testing.assert_allclose(loss(params, state, batch, key)[0], expected, rtol=1e-5)
    whole = np.asarray(module.apply(variables, pairs))
    assert np.abs(whole - scores).max() > 1e-3
