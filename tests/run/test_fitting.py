"""The first chunk of a run is trained while other programs are compiled and checked."""

import json
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_game import build, run, tiny

from dgm_jax.core import ConfigError
from dgm_jax.run.context import Clock
from dgm_jax.run.fitting import Abandoned, Beside

SOON = 20.0  # seconds after which a test has failed


def test_work_and_chunk_go_on_at_the_same_time():
    """Each waits for the other; the work stays in the caller's thread."""
    in_chunk, in_work = threading.Event(), threading.Event()
    threads = []

    def work():
        threads.append(threading.current_thread())
        assert in_chunk.wait(SOON)
        in_work.set()

    def chunk():
        in_chunk.set()
        beside.check()  # after the first step
        assert in_work.wait(SOON)
        return 7

    beside = Beside(work)
    assert beside.waits
    assert beside.train(chunk) == 7
    assert threads == [threading.current_thread()]
    assert not beside.waits


def test_later_chunks_have_nothing_beside_them():
    calls = []
    beside = Beside(lambda: calls.append("work"))
    where = [beside.train(threading.current_thread) for _ in range(3)]
    assert calls == ["work"]
    assert where[0] is not threading.current_thread()
    assert where[1:] == [threading.current_thread()] * 2
    assert Beside().train(threading.current_thread) is threading.current_thread()


def test_the_chunk_is_checked_as_its_caller_asked():
    with jax.debug_nans(True):
        with pytest.raises(FloatingPointError):
            Beside(lambda: None).train(lambda: jax.jit(jnp.log)(-jnp.ones(3)))
    assert np.isnan(Beside(lambda: None).train(lambda: jax.jit(jnp.log)(-jnp.ones(3)))).all()


def test_the_first_step_is_not_slowed():
    """The work begins when the first part of the chunk is made, and not before."""
    begun = threading.Event()
    early = []

    def chunk():
        early.append(begun.wait(0.2))
        beside.check()
        assert begun.wait(SOON)

    beside = Beside(begun.set)
    beside.train(chunk)
    assert early == [False]


def test_work_that_fails_ends_the_chunk_and_is_what_is_raised():
    failed = threading.Event()
    ends = []

    def work():
        failed.set()
        raise ConfigError("it cannot fit")

    def chunk():
        beside.check()
        assert failed.wait(SOON)
        while True:  # parts, until one is not wanted any more
            try:
                beside.check()
            except Abandoned:
                ends.append("abandoned")
                raise

    beside = Beside(work)
    with pytest.raises(ConfigError, match="it cannot fit"):
        beside.train(chunk)
    assert ends == ["abandoned"]


def test_a_chunk_that_fails_is_raised_after_the_work():
    calls = []

    def chunk():
        raise MemoryError("no more")

    with pytest.raises(MemoryError, match="no more"):
        Beside(lambda: calls.append("work")).train(chunk)
    assert calls == ["work"]


def events_of(capfd):
    lines = capfd.readouterr().err.splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def test_a_run_trains_before_its_evaluation_is_compiled(tmp_path, capfd):
    assert run(tmp_path / "run", "--kind", "plain", "half", "--progress", "json") == 0
    events = events_of(capfd)
    at = {(e["event"], e.get("name")): i for i, e in reversed(list(enumerate(events)))}
    starts = at["training_start", "plain"]
    assert at["phase_end", "compiling initialization of plain"] < starts
    assert starts < at["phase_start", "compiling evaluation of plain"]
    assert starts < at["phase_start", "compiling programs of half"] < at["progress", "plain"]


@pytest.mark.parametrize("flags", [("--lanes_at_once", "2"), ("--profile",)])
def test_some_runs_compile_all_first(flags, tmp_path, capfd):
    assert run(tmp_path / "run", "--progress", "json", *flags) == 0
    kinds = [(e["event"], e.get("name")) for e in events_of(capfd)]
    evaluation = kinds.index(("phase_end", "compiling evaluation of plain"))
    assert evaluation < kinds.index(("training_start", "plain"))


def test_an_evaluation_that_cannot_be_traced_leaves_nothing(tmp_path, capfd):
    def wrong(config, hyper, inputs):
        def evaluate(train_state, arrays, key):
            raise ConfigError("an evaluation that cannot be")

        return build(config, hyper, inputs)._replace(evaluate=evaluate)

    assert run(tmp_path / "run", experiment=tiny(build=wrong)) == 2
    assert "error: an evaluation that cannot be" in capfd.readouterr().err
    assert [file.name for file in (tmp_path / "run").rglob("*")] == [".lock"]


def test_a_rate_is_of_chunks_that_had_the_machine_alone():
    clock = Clock(0.0)
    assert clock.rate is None
    clock.count(100, 5.0, alone=False)
    assert clock.rate == 20.0  # there is no other
    clock.count(300, 2.0, alone=True)
    clock.count(500, 2.0, alone=True)
    assert clock.rate == 200.0
    assert (clock.seed_steps, clock.train_seconds) == (900, 9.0)
