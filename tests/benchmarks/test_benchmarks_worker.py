"""The process of a side: its answers, its stages, and the pipe."""

import io
import json
import pathlib

import benchmark_sides
import jax
import jax.numpy as jnp
import pytest

from benchmarks import stages, worker
from benchmarks.processes import Worker, WorkerError

HELPERS = pathlib.Path(benchmark_sides.__file__).parent


def test_an_error_is_an_answer_and_the_session_goes_on(capsys):
    session = worker.Session(benchmark_sides.CLOCK)
    arguments = {"name": "x", "target": "/benchmark_sides:broken", "options": {}}
    assert session.answer({"do": "prepare", **arguments}) == {"error": "ValueError: no such peer"}
    assert "error" in session.answer({"do": "sample", "name": "x", "calls": 1})
    assert session.answer({"do": "memory"})["memory"]["peak"] > 0
    assert "no such peer" in capsys.readouterr().err


def test_a_sample_takes_the_seconds_of_its_calls():
    session = worker.Session(benchmark_sides.CLOCK)
    options = {"seconds": 0.5, "count": 4.0}
    command = {"name": "nap", "target": "/benchmark_sides:sleep", "options": options}
    ready = session.answer({"do": "prepare", **command})
    assert ready["count"] == 4.0 and ready["stages"]["first"] == 0.5
    assert session.answer({"do": "sample", "name": "nap", "calls": 3})["seconds"] == 1.5


def test_stages_within_each_other_count_once():
    assert stages.union_length([]) == 0.0
    assert stages.union_length([(0, 4), (1, 2), (3, 6), (8, 9)]) == 7


def test_stages_are_those_of_the_programs_made_within():
    with stages.Stages() as found:
        jax.jit(lambda x: x * 3 + 1)(jnp.ones(3)).block_until_ready()
    seconds = found.seconds()
    assert set(seconds) == {"trace", "lower", "compile"} and min(seconds.values()) > 0
    jax.jit(lambda x: x * 5 + 2)(jnp.ones(3)).block_until_ready()
    assert found.seconds() == seconds


def test_a_process_answers_over_its_pipe_and_says_why_it_cannot(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{HELPERS}:{HELPERS.parents[1]}")
    process = Worker()
    try:
        command = {"name": "nap", "target": "/benchmark_sides:sleep", "options": {"seconds": 0.0}}
        assert process.ask("prepare", **command)["count"] == 1.0
        with pytest.raises(WorkerError, match="no such peer"):
            process.ask("check", target="/benchmark_sides:broken", options={})
        assert process.ask("sample", name="nap", calls=1)["seconds"] >= 0
    finally:
        process.close()
    with pytest.raises(WorkerError, match="the process ended"):
        process.ask("memory")


def test_an_answer_is_one_line_of_json():
    session, out = worker.Session(benchmark_sides.CLOCK), io.StringIO()
    print(json.dumps(session.answer({"do": "memory"})), file=out)
    assert len(out.getvalue().splitlines()) == 1
