"""Steps that are chosen many at a time: lanes that diverge or end alone, and what is traced."""

from functools import partial

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from poisoned_game import (
    DATA,
    NEVER,
    PROGRAM,
    advance_by_attempts,
    assert_same_bits,
    lane_of,
    lanes_at_start,
    task_of,
)

from dgm_jax import training
from dgm_jax.core import SOLO, Aux, Player, Task
from dgm_jax.training import attempts


def test_lanes_that_fail_at_different_steps_of_many(monkeypatch):
    """Attempts of 8 steps: failures in the first and last step of an attempt, two in one attempt,
    two at one step, and in a second part of the chunk."""
    monkeypatch.setattr(attempts, "MAX_STEPS", 8)
    steps = [0, 7, 8, 13, 14, 14, 30, NEVER]
    number = len(steps)
    poison = {"poison_loss": (slice(None), np.array(steps, np.int32))}
    start = lanes_at_start(number, **poison)
    run = jax.jit(lambda lanes, num: advance_by_attempts.__wrapped__(lanes, DATA, num))
    first, metrics = run(start, 20)
    end, _ = run(first, 16)
    healthy = lanes_at_start(number)
    for lane, step in enumerate(steps):
        assert int(end.failed_at[lane]) == (-1 if step == NEVER else step)
        made = min(step, 36)
        assert int(end.train_state.step[lane]) == made
        alike = lane_of(run(healthy, made)[0], lane).train_state
        assert_same_bits(lane_of(end, lane).train_state, alike)
        counted = np.arange(min(made, 20))
        expected = counted.mean() if len(counted) else np.nan
        np.testing.assert_allclose(metrics["a.index"][lane], expected, rtol=1e-6)


def test_lanes_may_make_different_numbers_of_steps(monkeypatch):
    monkeypatch.setattr(attempts, "MAX_STEPS", 4)
    numbers = jnp.array([0, 3, 9, 6])
    start = lanes_at_start(poison_loss=(3, 5))

    @jax.jit
    @jax.vmap
    def run(lane, num_steps):
        sums = PROGRAM.no_sums(lane, DATA)
        return PROGRAM.advance_part(lane, sums, DATA, num_steps, True, SOLO)[0]

    end = run(start, numbers)
    assert end.train_state.step.tolist() == [0, 3, 9, 5]
    assert end.failed_at.tolist() == [-1, -1, -1, 5]
    for lane, made in enumerate([0, 3, 9, 5]):
        alike, _ = advance_by_attempts(lanes_at_start(), DATA, made)
        found = lane_of(end, lane).train_state.params
        jax.tree.map(
            partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7),
            found,
            lane_of(alike, lane).train_state.params,
        )


def test_no_steps_are_made_once_every_lane_has_diverged(monkeypatch):
    monkeypatch.setattr(attempts, "MAX_STEPS", 4)
    made = []

    def counted(hyper):
        task = task_of(hyper)

        def draw(data, data_key, index):
            jax.debug.callback(lambda: made.append(1))
            return task.draw(data, data_key, index)

        return task._replace(draw=draw)

    program = training.lane_program(counted)
    start = lane_of(lanes_at_start(poison_loss=(0, 2)), 0)
    sums = program.no_sums(start, DATA)
    run = jax.jit(lambda lane, num: program.advance_part(lane, sums, DATA, num, True, SOLO))
    lane, _, _ = jax.block_until_ready(run(start, 1_000))
    jax.effects_barrier()
    assert int(lane.failed_at) == 2
    assert len(made) == 4 + 2 + 4  # tried, made once more up to the failure, and tried from there


def test_lanes_share_their_loops():
    """With a condition of its own for each lane, JAX would choose between two states every turn."""
    lanes = lanes_at_start()
    traced = jax.make_jaxpr(advance_by_attempts)(lanes, DATA, 5)
    shapes = [params["cond_jaxpr"].out_avals[0].shape for params in loops_of(traced.jaxpr)]
    assert shapes == [(), ()]  # of attempts, and of steps


def loops_of(jaxpr):
    """The parameters of all loops of unknown length, also of those in loops."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "while":
            yield equation.params
        for inside in jax.extend.core.jaxprs_in_params(equation.params):
            yield from loops_of(inside)


def test_a_known_number_of_steps_is_differentiated_in_reverse():
    """Gradient descent on (w - x)^2 / 2 from 0: w_n = (1 - (1 - r)^n) x after n steps of rate r, so
    dw_n / dr = n (1 - r)^(n - 1) x."""

    def loss(params, state, batch, key):
        return 0.5 * jnp.sum((params["w"]["w"] - batch) ** 2), Aux(state, {})

    def task(hyper):
        players = {"w": Player(("w",), loss)}
        algorithm = partial(training.alternating, players, {"w": optax.sgd(hyper["rate"])})
        return Task(
            lambda key: ({"w": {"w": jnp.zeros(())}}, {}), lambda *_: _[0], algorithm, lambda *_: {}
        )

    program = training.lane_program(task)

    def end(rate):
        lane = program.init(jax.random.key(0), {"rate": rate})
        lane, _ = program.advance(lane, jnp.float32(3.0), 5, SOLO)
        return lane.train_state.params["w"]["w"]

    value, slope = jax.value_and_grad(end)(0.1)
    assert float(value) == pytest.approx((1 - 0.9**5) * 3, rel=1e-6)
    assert float(slope) == pytest.approx(5 * 0.9**4 * 3, rel=1e-6)
