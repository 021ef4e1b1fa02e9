"""Chunks of guarded steps: the same bits however they are cut, means over a chunk, lanes that
diverge alone, whether each step is chosen or many at a time."""

from functools import partial

import chex
import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import core, parallel, training
from dgm_jax.core import SOLO, Aux, ConfigError, Player, Task
from dgm_jax.training import attempts

NEVER = 1_000  # a step that no run here reaches


def task_of(hyper):
    """A two-player game with noise, Adam and model state; `hyper` poisons one step and sets the
    learning rate.

    hyper: learning_rate, and the steps at which the loss, the gradient or the model state stops
        being finite.
    """

    def loss_of(name):
        def loss(params, state, batch, key):
            index, x = batch["index"], batch["x"]
            noise = 0.1 * jax.random.normal(key, x.shape[:1])
            y = jnp.tanh(x @ params["a"]) @ params["b"] + noise
            value = jnp.mean(y**2) if name == "a" else jnp.mean((y - 1.0) ** 2)
            value += jnp.where(index == hyper["poison_loss"], jnp.nan, 0.0)
            # sqrt has an infinite slope at 0, and its value there is fine.
            zero = jnp.where(index == hyper["poison_gradient"], 0.0, 1.0)
            value += jnp.sqrt(jnp.abs(jnp.sum(params[name])) * zero) * jnp.where(zero, 0.0, 1.0)
            seen = jnp.where(index == hyper["poison_state"], jnp.inf, state[name]["seen"] + 1.0)
            return value, Aux(
                {**state, name: {"seen": seen}},
                {"index": index, "nan_is_fine": jnp.nan},
            )

        return Player((name,), loss)

    def init(key):
        params = {"a": core.normal(key, (3, 4)), "b": jnp.ones(4)}
        return params, {name: {"seen": jnp.float32(0.0)} for name in params}

    def draw(data, data_key, index):
        x = data + core.normal(jax.random.fold_in(data_key, index), (8, 3))
        return {"index": jnp.broadcast_to(index, ()), "x": x}

    adam = optax.adam(hyper["learning_rate"])
    players = {name: loss_of(name) for name in ("a", "b")}
    algorithm = partial(training.simultaneous, players, {"a": adam, "b": adam})
    evaluate = lambda train_state, data, key: {"norm": jnp.linalg.norm(train_state.params["a"])}
    return Task(init, draw, algorithm, evaluate)


def hypers(num_lanes, **changes):
    """{name: [num_lanes]}; `changes` are (lane, value)."""
    hyper = {"learning_rate": np.full(num_lanes, 0.01, np.float32)}
    hyper |= {
        f"poison_{what}": np.full(num_lanes, NEVER, np.int32)
        for what in ("loss", "gradient", "state")
    }
    for name, (lane, value) in changes.items():
        hyper[name][lane] = value
    return jax.tree.map(jnp.asarray, hyper)


PROGRAM = training.lane_program(task_of)
DATA = jnp.float32(0.5)
init_lanes = jax.jit(jax.vmap(PROGRAM.init))


@partial(jax.jit, static_argnums=2)
def advance_by_scan(lanes, data, num_steps):
    """A number of steps that is known while the program is traced: each step is chosen."""
    of_lane = lambda lane, data: PROGRAM.advance(lane, data, num_steps, SOLO)
    return parallel.over_seeds(of_lane, "vmap")(lanes, data)


@jax.jit
def advance_by_attempts(lanes, data, num_steps):
    """Any number of steps, as the engine makes them: many are chosen at a time."""

    def of_lane(lane, data):
        sums = PROGRAM.no_sums(lane, data)
        lane, _, metrics = PROGRAM.advance_part(lane, sums, data, num_steps, True, SOLO)
        return lane, metrics

    return parallel.over_seeds(of_lane, "vmap")(lanes, data)


@pytest.fixture(params=[advance_by_scan, advance_by_attempts], ids=["scan", "attempts"])
def advance(request):
    return request.param


def lanes_at_start(num_lanes=4, **changes):
    return init_lanes(jax.random.split(jax.random.key(1), num_lanes), hypers(num_lanes, **changes))


def plain(tree):
    """Typed keys as numbers, so that trees can be compared."""
    return jax.tree.map(
        lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x,
        tree,
    )


def assert_same_bits(a, b):
    jax.tree.map(np.testing.assert_array_equal, plain(a), plain(b))


def lane_of(lanes, i):
    return jax.tree.map(lambda x: x[i], lanes)


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
