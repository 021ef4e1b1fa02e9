"""Games that cannot be played are refused before anything is traced, with both sides named."""

import jax
import jax.numpy as jnp
import optax
import pytest

from dgm_jax import training
from dgm_jax.core import Aux, ConfigError, Player


def player(*parts, num_updates=1, lookahead=()):
    return Player(
        parts,
        lambda params, state, batch, key: (jnp.float32(0.0), Aux(state, {})),
        num_updates,
        lookahead,
    )


def sgd(*names):
    return {name: optax.sgd(0.1) for name in names}


@pytest.mark.parametrize(
    "players, optimizers, words",
    [
        ({}, {}, ["at least one player"]),
        (
            {"d": player("d"), "g": player("g")},
            sgd("d", "gen"),
            ["same names", "['d', 'g']", "['d', 'gen']"],
        ),
        ({"d": player("net"), "g": player("net")}, sgd("d", "g"), ["'net'", "'d'", "'g'", "both"]),
        (
            {"d": player("d", num_updates=0)},
            sgd("d"),
            ["'d'", "num_updates", "at least 1", "got 0"],
        ),
        (
            {"d": player("d"), "g": player("g", lookahead=(("dd", 1),))},
            sgd("d", "g"),
            ["'g'", "'dd'", "['d', 'g']"],
        ),
        (
            {"d": player("d"), "g": player("g", lookahead=(("d", -1),))},
            sgd("d", "g"),
            ["'g'", "lookahead", "-1"],
        ),
    ],
)
@pytest.mark.parametrize("rule", ["alternating", "simultaneous"])
def test_games_that_do_not_fit(rule, players, optimizers, words):
    with pytest.raises(ConfigError) as caught:
        training.DYNAMICS[rule](players, optimizers)
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize("rule", sorted(set(training.DYNAMICS) - {"alternating"}))
def test_moving_at_once_takes_one_update_each(rule):
    players = {"d": player("d", num_updates=5), "g": player("g")}
    with pytest.raises(ConfigError, match="'d' asks for 5 updates.*alternating"):
        training.DYNAMICS[rule](players, sgd("d", "g"))


def test_a_part_must_exist():
    algorithm = training.alternating({"d": player("discriminator")}, sgd("d"))
    with pytest.raises(ConfigError, match=r"'d' owns \['discriminator'\].*\['d', 'g'\]"):
        algorithm.init(jax.random.key(0), {"d": jnp.zeros(2), "g": jnp.zeros(2)}, {})


def test_unknown_schedule_names_the_nearest():
    with pytest.raises(
        ConfigError, match="'cosin'.*did you mean 'cosine'.*constant, cosine, linear"
    ):
        training.learning_rate("cosin", 0.1, 10)


@pytest.mark.parametrize(
    "name, expected",
    [("constant", [0.2, 0.2, 0.2]), ("linear", [0.2, 0.1, 0.0]), ("cosine", [0.2, 0.1, 0.0])],
)
def test_schedules_start_at_the_peak(name, expected):
    found = jax.jit(
        lambda peak: jnp.stack([training.learning_rate(name, peak, 10)(t) for t in (0, 5, 10)])
    )(0.2)
    assert found.tolist() == pytest.approx(expected, abs=1e-7)
