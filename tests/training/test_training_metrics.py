"""What a step tells: no metric is lost, losses decide whether a lane lives, and metrics decide
nothing."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import training
from dgm_jax.core import SOLO, Algorithm, Aux, ConfigError, Player, StepInfo, Task

RULES = sorted(training.DYNAMICS)
NUM_STEPS = 4


def quadratic(name, metrics, num_updates=1):
    """A player whose loss is half the square of its own number; `metrics(loss, batch)` by name."""

    def loss(params, state, batch, key):
        value = params[name] ** 2 / 2
        return value, Aux(state, metrics(value, batch))

    return Player((name,), loss, num_updates)


def one_step(players, rule, start):
    algorithm = training.DYNAMICS[rule](players, {name: optax.sgd(0.1) for name in players})
    params = {name: jnp.float32(value) for name, value in start.items()}
    now = algorithm.init(jax.random.key(0), params, {})
    return jax.jit(lambda now: algorithm.step(now, lambda index: index))(now)


def played(algorithm, start, num_steps=NUM_STEPS):
    """(lane, metrics) after a chunk of a game in which batch i of the stream is i."""
    task = Task(
        init=lambda key: ({name: jnp.float32(value) for name, value in start.items()}, {}),
        draw=lambda data, data_key, index: index,
        algorithm=algorithm,
        evaluate=lambda train_state, data, key: {},
    )
    program = training.lane_program(lambda hyper: task)
    lane = program.init(jax.random.key(0), {})
    return jax.jit(lambda lane: program.advance(lane, (), num_steps, SOLO))(lane)


def game(rule, *players):
    """The algorithm of named players by plain gradient descent."""
    by_name = {player.parts[0]: player for player in players}
    return partial(training.DYNAMICS[rule], by_name, {name: optax.sgd(0.1) for name in by_name})


# Names.


@pytest.mark.parametrize("rule", RULES)
def test_losses_and_metrics_are_by_player(rule):
    """Losses of 2^2 / 2 and 3^2 / 2 where the step starts, or where extragradient has looked."""
    players = {
        "d": quadratic("d", lambda value, batch: {"twice": 2 * value}),
        "g": quadratic("g", lambda value, batch: {"twice": -value}),
    }
    _, info = one_step(players, rule, {"d": 2.0, "g": 3.0})
    factor = 0.9**2 if rule == "extragradient" else 1.0
    assert isinstance(info, StepInfo)
    np.testing.assert_allclose([info.losses["d"], info.losses["g"]], [2 * factor, 4.5 * factor])
    assert {name: set(metrics) for name, metrics in info.metrics.items()} == {
        "d": {"twice"},
        "g": {"twice"},
    }
    np.testing.assert_allclose(info.metrics["d"]["twice"], 4 * factor)
    np.testing.assert_allclose(info.metrics["g"]["twice"], -4.5 * factor)


@pytest.mark.parametrize("num_updates", [1, 3])
def test_metrics_of_one_name_of_two_players_are_both_recorded(num_updates):
    players = {
        "critic": quadratic("critic", lambda value, batch: {"kl": value}, num_updates),
        "generator": quadratic("generator", lambda value, batch: {"kl": -value}),
    }
    optimizers = {name: optax.sgd(0.1) for name in players}
    algorithm = lambda replica: training.alternating(players, optimizers, replica)
    _, metrics = played(algorithm, {"critic": 2.0, "generator": 3.0})
    assert set(metrics) == {f"{p}.{m}" for p in players for m in ("kl", "loss")}
    for player, sign in (("critic", 1), ("generator", -1)):
        np.testing.assert_allclose(metrics[f"{player}.kl"], sign * metrics[f"{player}.loss"])


def test_a_metric_with_the_name_of_its_players_loss_is_refused():
    players = {"g": quadratic("g", lambda value, batch: {"loss": value})}
    algorithm = lambda replica: training.alternating(players, {"g": optax.sgd(0.1)}, replica)
    with pytest.raises(ConfigError, match=r"players \['g'\] report a metric 'loss'"):
        played(algorithm, {"g": 3.0})


def test_a_run_records_losses_under_their_players_names():
    lane, metrics = played(game("alternating", quadratic("p", lambda v, b: {"seen": b})), {"p": 1})
    expected = np.mean([0.9 ** (2 * step) / 2 for step in range(NUM_STEPS)])
    assert set(metrics) == {"p.loss", "p.seen"}
    np.testing.assert_allclose([metrics["p.loss"], metrics["p.seen"]], [expected, 1.5], rtol=1e-6)
    assert int(lane.failed_at) == -1


# The guard.


def test_a_metric_that_is_called_a_loss_does_not_end_a_lane():
    """An infinite `reconstruction_loss` at step 2 is shown as infinite; the lane trains on."""

    def metrics(value, batch):
        return {"reconstruction_loss": jnp.where(batch == 2, jnp.inf, 1.0)}

    lane, seen = played(game("alternating", quadratic("p", metrics)), {"p": 1.0})
    assert int(lane.failed_at) == -1 and int(lane.train_state.step) == NUM_STEPS
    np.testing.assert_allclose(lane.train_state.params["p"], 0.9**NUM_STEPS, rtol=1e-6)
    assert np.isinf(seen["p.reconstruction_loss"])


def counting(info_of):
    """An algorithm of its own: it adds one to its number and tells `info_of(batch)`."""

    def algorithm(replica):
        plain = training.simultaneous({"p": quadratic("p", lambda v, b: {})}, {"p": optax.sgd(0.1)})

        def step(train_state, draw):
            params = {"p": train_state.params["p"] + 1.0}
            moved = train_state._replace(step=train_state.step + 1, params=params)
            return moved, info_of(draw(train_state.step))

        return Algorithm(plain.init, step)

    return algorithm


@pytest.mark.parametrize("player", ["energy", "p", "free_energy_loss"])
def test_a_loss_that_is_not_finite_ends_a_lane_whatever_its_player_is_called(player):
    def info(batch):
        return StepInfo({player: jnp.where(batch == 2, jnp.nan, 1.0)}, {})

    lane, seen = played(counting(info), {"p": 0.0})
    assert int(lane.failed_at) == 2 and int(lane.train_state.step) == 2
    assert float(lane.train_state.params["p"]) == 2.0
    assert set(seen) == {f"{player}.loss"} and float(seen[f"{player}.loss"]) == 1.0


@pytest.mark.parametrize(
    "info, message",
    [
        (lambda batch: {"p_loss": batch}, r"must return \(train_state, StepInfo.*TrainState, dict"),
        (
            lambda batch: StepInfo({"p": batch}, {"p": {"loss": batch}}),
            r"players \['p'\] report a metric 'loss'",
        ),
    ],
)
def test_a_slip_of_an_algorithm_is_named(info, message):
    with pytest.raises(ConfigError, match=message):
        played(counting(info), {"p": 0.0})
