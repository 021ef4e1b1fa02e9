"""What programs of known sizes need, by hand, and runs that cannot fit into a memory that is made
up."""

import contextlib
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import psutil
import pytest
from tiny_game import build, run, tiny

from dgm_jax import parallel, training
from dgm_jax.core import Aux, ConfigError, Player, Task
from dgm_jax.run import fitting, memory, start
from dgm_jax.run.cells import Arm, Group
from dgm_jax.run.estimate import Estimate, Moment, Part, estimate, first_moments, moments
from dgm_jax.run.fitting import require_fits
from dgm_jax.run.memory import Memory
from dgm_jax.run.programs import Programs
from dgm_jax.run.settings import LaunchConfig, StudyConfig

pytestmark = pytest.mark.optimized

LANES, WIDTH, SHOWN, DATA = 3, 1000, 50_000, 4096
MATRIX = 4 * WIDTH * WIDTH


def task(hyper):
    """w [WIDTH] by momentum; its evaluation sorts a matrix [WIDTH, WIDTH], which is held whole."""
    del hyper

    def init(key):
        return {"p": {"w": jax.random.normal(key, (WIDTH,))}}, {}

    def loss(params, state, batch, key):
        return jnp.mean((params["p"]["w"] - batch) ** 2), Aux(state, {})

    def evaluate(train_state, data, key):
        w = train_state.params["p"]["w"] + jnp.sum(data)
        return {"shown": jnp.sort(jnp.outer(w, w).reshape(-1))[:SHOWN]}

    players = {"p": Player(("p",), loss)}
    rule = partial(training.alternating, players, {"p": optax.sgd(0.1, momentum=0.9)})
    return Task(init, lambda data, key, index: data[:WIDTH], rule, evaluate)


def programs(strategy):
    keys = jax.random.split(jax.random.key(0), LANES)
    device = jax.devices()[:1]
    program = training.lane_program(task)
    distributed = parallel.distribute(program, keys, {}, strategy=strategy, only=device)
    compiling = lambda what: contextlib.nullcontext()
    group = Group((Arm("plain", StudyConfig()),), ())
    return Programs(group, distributed, (keys, {}), np.zeros(DATA, np.float32), compiling)


def parts_of(moment):
    return {part.name: part.num_bytes for part in moment.parts}


def test_programs_of_known_sizes():
    """A lane: w and its momentum, three keys of 8 bytes, step, failed_at and the optimizer's
    nothing. `vmap` holds the matrices of all lanes at once, `map` that of one."""
    state = LANES * (2 * 4 * WIDTH + 3 * 8 + 4 + 4)
    for strategy, at_once in (("vmap", LANES), ("map", 1)):
        own = programs(strategy)
        assert (
            own.evaluate is own.evaluate
            and own.advance is own.advance
            and own.evaluate_final is None
        )
        assert own.num_lanes == LANES
        found = {moment.name: parts_of(moment) for moment in moments(own)}
        assert set(found) == {
            f"the {x} of plain" for x in ("initialization", "evaluation", "steps")
        }
        steps, evaluation = found["the steps of plain"], found["the evaluation of plain"]
        for parts in (steps, evaluation):
            assert parts["state of 3 lanes"] == state
            assert parts["data on the device"] == 4 * DATA
        assert evaluation["results of the evaluation"] == pytest.approx(4 * LANES * SHOWN, abs=64)
        working = evaluation["working memory of the evaluation"]
        assert at_once * MATRIX <= working < (at_once + 1.5) * MATRIX
        # the lanes are given back in the memory of the old ones: what is new are sums and metrics
        assert steps["results of the steps"] < 500
        first = found["the initialization of plain"]["results of the initialization"]
        assert first == pytest.approx(state, abs=200)
        there = {moment.name: parts_of(moment) for moment in moments(own, fresh=False)}
        assert set(there["the steps of plain"]) == {
            "working memory of the steps",
            "results of the steps",
        }
        assert set(found["the initialization of plain"]) == {
            "data on the device",
            "working memory of the initialization",
            "results of the initialization",
        }
        whole = estimate(own, devices=jax.devices()[:1], fresh=True)
        assert whole.moment.name == "the evaluation of plain"
        two = estimate(own, devices=jax.devices()[:2], fresh=True)
        assert two.copies == 2 and two.num_bytes > whole.num_bytes + working


def test_best_models_and_the_last_evaluation_are_held_too():
    own = programs("map")
    kept = estimate(own, devices=jax.devices()[:1], fresh=True, keeps_best=True).moment
    plain = estimate(own, devices=jax.devices()[:1], fresh=True).moment
    assert kept.num_bytes - plain.num_bytes == LANES * 4 * WIDTH  # parameters, no momentum


def test_a_host_holds_the_last_results_until_the_next_evaluation():
    own, last = programs("map"), "what the last evaluation returned"
    found = {moment.name: parts_of(moment) for moment in moments(own, on_host=True)}
    assert last not in found["the evaluation of plain"]
    assert last not in found["the initialization of plain"]
    for name in ("the steps of plain", "the saving of plain"):
        assert found[name][last] == pytest.approx(4 * LANES * SHOWN, abs=64)
    # twice the parameters of the one arm, which are more than the largest array of the lanes
    assert (
        found["the saving of plain"]["copies for checkpoints and models"] == 2 * LANES * 4 * WIDTH
    )


def test_what_a_chunk_holds_is_not_counted_twice(monkeypatch):
    """While the first chunk is trained the process holds its lanes, data and working memory."""
    own, launch = programs("vmap"), LaunchConfig(num_devices=1)
    asked = []
    monkeypatch.setattr(fitting, "require_all_fit", lambda *of: asked.append(of))
    before = memory.taken_of(jax.devices()[0])
    beside = fitting.beside_first_chunk([own], StudyConfig(), launch, contextlib.nullcontext)
    assert not {"evaluate", "evaluate_final"} & set(vars(own))  # not compiled yet
    beside.train(lambda: None)
    ((_, _, _, taken),) = asked
    held = max(moment.num_bytes for moment in first_moments(own))
    assert held > LANES * 2 * 4 * WIDTH  # w and its momentum, and more
    now = 10**12
    monkeypatch.setattr(fitting, "taken_of", lambda device: now)
    assert taken(None) == now - held
    now = 0  # a chunk that has hardly begun
    assert taken(None) > before / 2  # what the process held before it


def test_a_run_that_goes_on_is_told_to_go_on_elsewhere(monkeypatch):
    monkeypatch.setattr("dgm_jax.run.estimate.memory_of", lambda device: Memory(1, "x"))
    own, launch = programs("map"), LaunchConfig(num_devices=1)
    with pytest.raises(ConfigError, match="x has 0.001 kB; go on where there is more, or begin"):
        require_fits(own, StudyConfig(), launch, fresh=False)
    with pytest.raises(ConfigError, match="not one seed of each arm would fit: lower --num_seeds"):
        require_fits(own, StudyConfig(), launch, fresh=True)


def test_how_many_lanes_fit():
    """10 bytes for all and 4 lanes of 25 bytes."""
    parts = Part("state", 60), Part("data", 10, by_lane=False), Part("working memory", 40)
    moment = Moment("the steps", parts, num_lanes=4)
    assert moment.num_bytes == 110
    assert [moment.lanes_within(size) for size in (9, 34, 35, 60, 110, 1010)] == [0, 0, 1, 2, 4, 40]
    there = partial(Estimate, moment, taken=30, copies=2)
    assert there(Memory(250, "x")).fits and not there(Memory(249, "x")).fits
    assert there(Memory(250, "x")).num_bytes == 250
    assert there(Memory(150, "x")).fitting_lanes == 2  # 60 for each of two devices


def sorting(config, hyper, inputs):
    """The tiny game, whose evaluation holds 40 MB a lane."""
    plain = build(config, hyper, inputs)

    def evaluate(train_state, arrays, key):
        numbers = jax.random.normal(key, (10_000_000,)) + train_state.params["p"]["w"]
        return plain.evaluate(train_state, arrays, key) | {"middle": jnp.sort(numbers)[5_000_000]}

    return plain._replace(evaluate=evaluate)


@pytest.fixture
def small_machine(monkeypatch):
    """60 MB more than this process holds."""

    def memory_of(device):
        return Memory(psutil.Process().memory_info().rss + 60_000_000, "a small machine")

    monkeypatch.setattr("dgm_jax.run.estimate.memory_of", memory_of)


def test_a_run_that_cannot_fit_is_never_evaluated_and_leaves_nothing(
    small_machine, tmp_path, capfd
):
    """Its first chunk is trained meanwhile, but neither logged nor saved."""
    experiment = tiny(build=sorting, snapshots=lambda *arguments: pytest.fail("it was evaluated"))
    flags = ("--num_seeds", "3", "--strategy", "vmap", "--progress", "json")
    assert run(tmp_path / "run", *flags, experiment=experiment) == 2
    said = capfd.readouterr().err
    refusal = said.splitlines()[-1]
    assert "this run cannot fit" in refusal and "at the evaluation of plain" in refusal
    assert "working memory of the evaluation " in refusal and "a small machine has" in refusal
    assert "would fit: lower --num_seeds, or train" in refusal and "--strategy map" in refusal
    assert "batch_size" not in refusal  # which this game has not
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    compiled = [e["name"] for e in events if e["event"] == "phase_start"]
    assert len(set(compiled)) == len(compiled)  # nothing twice
    assert not any(event["event"] == "progress" for event in events)
    assert [file.name for file in (tmp_path / "run").rglob("*")] == [".lock"]


def test_a_run_whose_steps_cannot_fit_ends_before_its_first_step(monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(
        "dgm_jax.run.estimate.memory_of", lambda device: Memory(1, "a tiny machine")
    )
    experiment = tiny(build=sorting)
    assert run(tmp_path / "run", "--progress", "json", experiment=experiment) == 2
    said = capfd.readouterr().err
    assert "at the steps of plain" in said.splitlines()[-1]
    assert "training_start" not in said and "evaluation" not in said


def test_a_check_says_how_much_and_what(capsys):
    flags = ["--num_seeds", "3", "--num_devices", "1", "--strategy", "vmap"]
    assert start.check(tiny(build=sorting), flags) == 0
    shown = capsys.readouterr().out
    (line,) = [line for line in shown.splitlines() if line.startswith("memory: ")]
    assert "at the evaluation of plain (largest: " in line
    assert "libraries, loaded data and programs" in line
    assert start.check(tiny(build=sorting), [*flags, "--no-compile"]) == 0
    assert "memory: " not in capsys.readouterr().out
