"""Moving averages against their closed form."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import training
from dgm_jax.core import Aux, ConfigError, Player

DECAY = 0.8


def counting():
    """Parameters of `g` grow by 1 a step and its state doubles; `d` is not averaged."""

    def loss(params, state, batch, key):
        new = {"g": {"mean": 2.0 * state["g"]["mean"], "count": state["g"]["count"] + 1}}
        return -params["g"]["w"] - params["d"]["w"], Aux({**state, **new}, {})

    player = Player(("g", "d"), loss)
    return training.alternating({"both": player}, {"both": optax.sgd(1.0)})


PARAMS = {"g": {"w": jnp.float32(3.0)}, "d": {"w": jnp.float32(5.0)}}
STATE = {"g": {"mean": jnp.float32(1.0), "count": jnp.int32(0)}, "d": {}}


def expected(values):
    """a_0 = w_0, a_t = decay a_{t-1} + (1 - decay) w_t as one weighted sum."""
    steps = len(values) - 1
    weights = [DECAY**steps, *((1 - DECAY) * DECAY ** (steps - t) for t in range(1, steps + 1))]
    return np.dot(weights, values)


@pytest.mark.parametrize("traced", [False, True])
def test_average_over_ten_steps(traced):
    def run(decay):
        algorithm = training.averaged(counting(), ("g",), decay)
        now = algorithm.init(jax.random.key(0), PARAMS, STATE)
        body = lambda now, _: (algorithm.step(now, lambda index: index)[0], None)
        return jax.lax.scan(body, now, None, length=10)[0]

    now = jax.jit(run)(jnp.float32(DECAY)) if traced else jax.jit(lambda: run(DECAY))()
    params, state = training.average_of(now)
    assert float(params["g"]["w"]) == pytest.approx(
        expected([3.0 + t for t in range(11)]), rel=1e-6
    )
    assert float(state["g"]["mean"]) == pytest.approx(
        expected([2.0**t for t in range(11)]), rel=1e-6
    )
    assert int(state["g"]["count"]) == 10  # a count is not averaged
    assert float(params["d"]["w"]) == 15.0  # nor is a part that was not asked for
    # training itself goes on as without
    assert float(now.params["g"]["w"]) == 13.0 and int(now.step) == 10
    assert set(state) == {"g", "d"}


def test_average_starts_at_the_initial_parameters():
    now = training.averaged(counting(), ("g",), DECAY).init(jax.random.key(0), PARAMS, STATE)
    params, state = training.average_of(now)
    chex.assert_trees_all_equal((params, state), (PARAMS, STATE))


def test_without_averages_the_newest_come_back():
    now = counting().init(jax.random.key(0), PARAMS, STATE)
    params, state = training.average_of(now)
    chex.assert_trees_all_equal((params, state), (PARAMS, STATE))


def test_averaging_leaves_the_run_as_it_was():
    plain, kept = counting(), training.averaged(counting(), ("g",), DECAY)
    a, b = (algorithm.init(jax.random.key(0), PARAMS, STATE) for algorithm in (plain, kept))
    for _ in range(3):
        a, _ = plain.step(a, lambda index: index)
        b, _ = kept.step(b, lambda index: index)
    chex.assert_trees_all_equal(a.params, b.params)
    chex.assert_trees_all_equal(a.opt_state, b.opt_state)


def test_unknown_part_is_refused():
    with pytest.raises(ConfigError, match=r"generatr.*'d', 'g'"):
        training.averaged(counting(), ("generatr",)).init(jax.random.key(0), PARAMS, STATE)
