"""A task that breaks the engine's contract is refused with a sentence that names the part at
fault."""

import functools
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import parallel, training
from dgm_jax.core import Aux, ConfigError, Player, Task
from dgm_jax.terminal.progress import Progress

KEYS = jax.random.split(jax.random.key(0), 2)


def square(params, state, batch, key):
    return params["x"] ** 2, Aux(state, {})


def task(*, loss=square, parts=("x",), init=None, evaluate=None):
    return Task(
        init=init or (lambda key: ({"x": jnp.float32(1.0)}, {})),
        draw=lambda data, data_key, index: (),
        algorithm=functools.partial(
            training.alternating, {"p": Player(parts, loss)}, {"p": optax.sgd(0.1)}
        ),
        evaluate=evaluate or (lambda train_state, data, key: {"x": train_state.params["x"]}),
    )


def play(one, keys=KEYS, hyper=None, num_steps=2):
    hyper = {} if hyper is None else hyper
    program = parallel.distribute(
        training.lane_program(lambda hyper: one), keys, hyper, only=jax.devices()[:1]
    )
    advance = program.compile_advance(program.abstract(keys, hyper), ())
    lanes, *_ = advance(program.init(keys, hyper), (), num_steps)
    return program.compile_evaluate(lanes, ())(lanes, ())


def test_the_contract_kept():
    """x -> .8 x in each step of sgd(.1) on x^2."""
    np.testing.assert_allclose(play(task())["x"], [0.64, 0.64], rtol=1e-6)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"parts": "x"},
            r"'p': parts must be a tuple of names, such as \('x',\); got the text 'x'",
        ),
        (
            {"loss": lambda p, s, b, k: p["x"] ** 2},
            r"'p': the loss must return \(scalar, Aux.*, got float32\[\]",
        ),
        (
            {"loss": lambda p, s, b, k: (p["x"] ** 2, (s, {}))},
            r"\(scalar, Aux.*, got \(float32\[\], tuple\)",
        ),
        (
            {"loss": lambda p, s, b, k: (p["x"] * jnp.ones(3), Aux(s, {}))},
            r"must be a scalar, got shape \(3,\)",
        ),
        (
            {"loss": lambda p, s, b, k: (p["x"], Aux(s, {"v": jnp.ones(3)}))},
            r"must be scalars, got shapes {'p.v': \(3,\)}",
        ),
        (
            {"init": lambda key: {"x": jnp.float32(1.0)}},
            r"Task.init must return \(params, state\).*; got dict",
        ),
        ({"init": lambda key: ({"x": jnp.float32(1.0)}, None)}, r"; got \(dict, None\)"),
        (
            {"init": lambda key: ({"x": jnp.int32(1)}, {})},
            "'p': parameters must be floating-point numbers, got int32",
        ),
        (
            {"evaluate": lambda state, data, key: state.params["x"]},
            r"Task.evaluate must return a dictionary .* got float32\[\]",
        ),
    ],
)
def test_a_slip_is_named(change, message):
    with pytest.raises(ConfigError, match=message):
        play(task(**change))


@pytest.mark.parametrize(
    "keys, hyper, message",
    [
        (jax.random.key(0), {}, r"keys must be typed keys \[L\].* got key<fry>\[\]"),
        (
            jax.random.split(jax.random.PRNGKey(0), 2),
            {},
            r"keys must be typed keys \[L\].* got uint32\[2, 2\]",
        ),
        ([1, 2], {}, r"keys must be typed keys \[L\].* got list"),
        (KEYS, {"rate": jnp.zeros(3)}, r"with L = 2, as many as keys; got {\(3,\)}"),
        (KEYS, {"rate": 0.1}, r"with L = 2, as many as keys; got {\(\)}"),
    ],
)
def test_lanes_need_typed_keys_and_as_many_numbers(keys, hyper, message):
    with pytest.raises(ConfigError, match=message):
        play(task(), keys, hyper)


def test_progress_hears_of_steps_and_chunks():
    """A `Progress` that writes JSON: the last step of each chunk with its metrics, of three lanes
    that several devices have to pad."""
    stream = io.StringIO()
    keys = jax.random.split(jax.random.key(0), 3)
    with Progress("json", stream) as progress:
        result = training.train(task(), keys, (), 6, chunk_steps=3, progress=progress)
    assert result.metrics["p.loss"].shape == (3, 2)
    assert {len(x) for x in jax.tree.leaves((result.lanes, result.evaluation))} == {3}
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    steps = {event["step"]: event["metrics"] for event in events if event["event"] == "progress"}
    assert {3, 6} <= set(steps) and max(steps) == 6
    losses = [0.8 ** (2 * step) for step in range(6)]  # x -> .8 x, and the loss is x^2
    np.testing.assert_allclose(steps[3]["p.loss"], [np.mean(losses[:3])] * 3, rtol=1e-4)
    np.testing.assert_allclose(steps[6]["p.loss"], [np.mean(losses[3:])] * 3, rtol=1e-4)
    assert events[0]["event"] == "training_start" and events[-1]["event"] == "training_end"
