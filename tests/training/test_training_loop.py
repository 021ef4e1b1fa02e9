"""Chunks of guarded steps: the same bits however they are cut, means over a chunk, lanes that
diverge alone, whether each step is chosen or many at a time."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from poisoned_game import (
    DATA,
    advance_by_attempts,
    advance_by_scan,
    assert_same_bits,
    hypers,
    lane_of,
    lanes_at_start,
    task_of,
)

from dgm_jax import parallel, training
from dgm_jax.core import SOLO, Aux, ConfigError, Player, Task


@pytest.fixture(params=[advance_by_scan, advance_by_attempts], ids=["scan", "attempts"])
def advance(request):
    return request.param


def test_two_and_two_steps_are_four(advance):
    start = lanes_at_start()
    whole, whole_metrics = advance(start, DATA, 4)
    first, first_metrics = advance(start, DATA, 2)
    second, second_metrics = advance(first, DATA, 2)
    assert_same_bits(second, whole)
    assert whole.train_state.step.tolist() == [4] * 4
    for name in ("a.loss", "b.loss"):
        mean = (first_metrics[name] + second_metrics[name]) / 2
        np.testing.assert_allclose(whole_metrics[name], mean, rtol=1e-6)


def test_metrics_are_means_over_the_chunk(advance):
    lanes, metrics = advance(lanes_at_start(), DATA, 4)
    assert metrics["a.index"].tolist() == [1.5] * 4
    _, metrics = advance(lanes, DATA, 2)
    assert metrics["a.index"].tolist() == metrics["b.index"].tolist() == [4.5] * 4


def test_lanes_differ_and_training_moves(advance):
    lanes, _ = advance(lanes_at_start(), DATA, 4)
    a = np.asarray(lanes.train_state.params["a"])
    assert len({row.tobytes() for row in a}) == 4
    assert np.all(np.isfinite(a)) and lanes.failed_at.tolist() == [-1] * 4


@pytest.mark.parametrize("step", [0, 3, 6])
@pytest.mark.parametrize("what", ["loss", "gradient", "state"])
def test_poisoned_lane_freezes_alone(what, step, advance):
    """Lane 2 is poisoned at `step`: it stays where it was after `step` steps; the others keep every
    bit."""
    healthy = lanes_at_start()
    sick = lanes_at_start(**{f"poison_{what}": (2, step)})
    (h1, _), (s1, s1_metrics) = advance(healthy, DATA, 4), advance(sick, DATA, 4)
    (h2, _), (s2, s2_metrics) = advance(h1, DATA, 4), advance(s1, DATA, 4)
    assert s2.failed_at.tolist() == [-1, -1, step, -1]
    for i in (0, 1, 3):
        assert_same_bits(lane_of(s2, i).train_state, lane_of(h2, i).train_state)
    frozen = lane_of(s2, 2).train_state
    assert int(frozen.step) == step
    before = healthy if step == 0 else advance(healthy, DATA, step)[0]
    assert_same_bits(frozen, lane_of(before, 2).train_state)
    taken = [t for t in range(4) if t < step]
    expected = np.mean(taken) if taken else np.nan
    np.testing.assert_allclose(s1_metrics["a.index"][2], expected, rtol=1e-6)
    assert np.isfinite(s2_metrics["a.loss"][jnp.array([0, 1, 3])]).all()
    assert np.isnan(s2_metrics["a.loss"][2]) == (step < 4)


def test_huge_learning_rate_freezes_its_lane_alone(advance):
    healthy, sick = lanes_at_start(), lanes_at_start(learning_rate=(1, 1e30))
    (h, _), (s, _) = advance(healthy, DATA, 8), advance(sick, DATA, 8)
    failed_at = s.failed_at.tolist()
    assert failed_at[1] >= 1 and failed_at[0] == failed_at[2] == failed_at[3] == -1
    assert int(s.train_state.step[1]) == failed_at[1]
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(s.train_state.params))
    for i in (0, 2, 3):
        assert_same_bits(lane_of(s, i).train_state, lane_of(h, i).train_state)


def test_a_frozen_lane_stays_frozen_after_its_poison_is_gone(advance):
    lanes, _ = advance(lanes_at_start(poison_loss=(0, 1)), DATA, 4)
    cured = lanes._replace(hyper=hypers(4))
    later, _ = advance(cured, DATA, 4)
    assert_same_bits(lane_of(later, 0).train_state, lane_of(lanes, 0).train_state)
    assert later.failed_at.tolist() == [1, -1, -1, -1]


def fake_advance(lanes, data, length):
    return lanes + [length], {"length": length}


@pytest.mark.parametrize("start", range(12))
def test_chunks_of_a_resumed_run_line_up(start):
    """Whatever step a run is resumed at, its chunks end where those of an undisturbed run end."""
    chunks = lambda start: list(
        training.run(fake_advance, [], None, start=start, num_steps=11, chunk_steps=4)
    )
    assert [c.step for c in chunks(0)] == [4, 8, 11]
    assert [c.step for c in chunks(start)] == [end for end in (4, 8, 11) if end > start]
    assert sum(c.metrics["length"] for c in chunks(start)) == max(11 - start, 0)


def test_run_is_lazy_and_passes_lanes_on():
    seen = []
    for chunk in training.run(fake_advance, [], None, start=0, num_steps=100, chunk_steps=10):
        seen.append(chunk)
        if chunk.step == 30:
            break
    assert [c.metrics["length"] for c in seen] == [10, 10, 10] and seen[-1].lanes == [10, 10, 10]


@pytest.mark.parametrize(
    "setting", [{"num_steps": 0, "chunk_steps": 1}, {"num_steps": 1, "chunk_steps": 0}]
)
def test_run_refuses_nothing_to_do(setting):
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        next(training.run(fake_advance, [], None, start=0, **setting))


def test_one_trace_for_each_length_of_chunk():
    """However many steps, calls and lanes, a chunk's program is traced once."""
    traced = []

    def counted(hyper):
        traced.append(hyper)
        return task_of(hyper)

    program = training.lane_program(counted)
    chex.clear_trace_counter()

    @partial(jax.jit, static_argnums=2)
    @chex.assert_max_traces(1)
    def run(lanes, data, num_steps):
        over = parallel.over_seeds(
            lambda lane, data: program.advance(lane, data, num_steps, SOLO), "vmap"
        )
        return over(lanes, data)

    lanes = lanes_at_start()
    for _ in range(3):
        lanes, _ = run(lanes, DATA, 5)
    assert lanes.train_state.step.tolist() == [15] * 4
    assert len(traced) == 1


def test_evaluation_uses_the_same_noise_every_time():
    def task(hyper):
        return task_of(hyper)._replace(
            evaluate=lambda train_state, data, key: {"noise": jax.random.normal(key)}
        )

    program = training.lane_program(task)
    lane = jax.jit(program.init)(jax.random.key(0), lane_of(hypers(1), 0))
    first = program.evaluate(lane, DATA)["noise"]
    moved, _ = jax.jit(lambda lane: program.advance(lane, DATA, 2, SOLO))(lane)
    assert float(program.evaluate(moved, DATA)["noise"]) == float(first)


def test_an_optimizer_that_can_never_move_again_counts_as_failed():
    """A gradient of 1e30 leaves parameters and loss finite, and Adam's second moment infinite."""

    def loss(params, state, batch, key):
        return jnp.sum(params["w"]["w"] * batch), Aux(state, {})

    def task(hyper):
        def draw(data, data_key, index):
            return jnp.where(index == hyper["poison"], 1e30, 1.0)

        algorithm = partial(
            training.alternating, {"w": Player(("w",), loss)}, {"w": optax.adam(0.1)}
        )
        return Task(lambda key: ({"w": {"w": jnp.zeros(3)}}, {}), draw, algorithm, lambda *_: {})

    program = training.lane_program(task)
    lanes = jax.vmap(program.init)(
        jax.random.split(jax.random.key(0), 2), {"poison": jnp.array([2, 99])}
    )
    step = jax.jit(jax.vmap(lambda lane: program.advance(lane, None, 4, SOLO)))
    lanes, _ = step(lanes)
    assert np.isfinite(lanes.train_state.params["w"]["w"]).all()
    assert lanes.failed_at.tolist() == [3, -1]
    before = np.asarray(lanes.train_state.params["w"]["w"])
    after = np.asarray(step(lanes)[0].train_state.params["w"]["w"])
    np.testing.assert_array_equal(after[0], before[0])
    assert (after[1] != before[1]).all()
