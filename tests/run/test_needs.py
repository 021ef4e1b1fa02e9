"""A run that needs another one: the tiny game, whose target is where an earlier game ended."""

import dataclasses
import json
import os
import signal
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_game import Tiny, rows_of, run, summary_of, tiny

from dgm_jax.core import ConfigError
from dgm_jax.core.once import once
from dgm_jax.run import Inputs, Need, catalogue, check
from dgm_jax.run.needs import needed_experiment

pytestmark = pytest.mark.optimized

STEPS = 20  # of the game that is needed


@dataclasses.dataclass(frozen=True)
class Second(Tiny):
    """A game that follows another one."""

    before: str = ""
    """A folder of the user's own."""


def ended_at(folder):
    return float(np.mean(summary_of(folder)["metrics"]["w"]["per_seed"]))


def second(first_out, name="first", **settings):
    """The tiny game around what `name`, in the folder `first_out`, has come to."""
    asked = {"num_seeds": 2, "num_steps": STEPS, "log_every": 10, **settings}

    def needs(view):
        return (Need(name, None if view.before else asked, view.before or str(first_out)),)

    def load(view, needed):
        (folder,) = needed
        target = 0.0 if folder is None else ended_at(folder)
        return Inputs({"target": jnp.float32(target)}, {"name": "number", "target": target})

    return tiny(name="second", config=Second, data_settings=("before",), needs=needs, load=load)


@pytest.fixture
def first(monkeypatch):
    """`first(**changes)` makes the tiny game of this name known, with another `summarize`, say."""

    def known(**changes):
        entry = SimpleNamespace(load=lambda: tiny(name="first", **changes), value="a:b")
        monkeypatch.setattr(catalogue, "experiments", lambda: {"first": entry})

    known()
    return known


def test_what_is_needed_is_trained_first_and_only_once(first, tmp_path, capfd):
    out, before = tmp_path / "run", tmp_path / "before"
    assert run(out, "--progress", "lines", experiment=second(before)) == 0
    said = capfd.readouterr()
    assert f"first, since this run needs it: first in {before}" in said.err
    assert said.err.index("training 2 seeds") < said.err.index("training 3 seeds")
    assert [row["step"] for row in rows_of(before)] == [10, 20]
    seen = json.loads((out / "environment.json").read_text())["dataset"]["target"]
    assert seen == ended_at(before) == pytest.approx(2, abs=0.5)
    # The table on standard output is that of the run that was asked for.
    assert said.out.count("report: ") == 1 and f"report: {out}" in said.out
    written = (before / "summary.json").stat().st_mtime_ns
    assert run(tmp_path / "again", "--rate", "0.2", experiment=second(before)) == 0
    assert (before / "summary.json").stat().st_mtime_ns == written


def test_needs_and_load_compute_together_what_both_read(tmp_path):
    made = []

    def read():
        return once("set", lambda: made.append("read") or len(made), int)

    def needs(view):
        del view
        assert read() == len(made)
        return ()

    def load(view, needed):
        del view, needed
        return Inputs({"target": jnp.float32(read())}, {"name": "number"})

    both = tiny(name="both", needs=needs, load=load)
    assert run(tmp_path / "first", experiment=both) == 0 and made == ["read"]
    assert run(tmp_path / "second", experiment=both) == 0 and made == ["read", "read"]


def test_what_is_needed_has_the_bits_of_a_run_of_its_own(first, tmp_path):
    assert run(tmp_path / "run", "--strategy", "map", experiment=second(tmp_path / "before")) == 0
    flags = ("--num_seeds", "2", "--num_steps", str(STEPS))
    assert run(tmp_path / "alone", *flags, experiment=tiny(name="first")) == 0
    hashes = [summary_of(tmp_path / name)["final_params_sha256"] for name in ("before", "alone")]
    assert hashes[0] == hashes[1]


def test_a_signal_meanwhile_stops_the_run_and_both_go_on(first, tmp_path, capfd):
    calls = []

    def summarize(arrays, config, inputs):
        calls.append(0)
        if len(calls) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"w": arrays["w"]}

    first(summarize=summarize)
    out, before = tmp_path / "run", tmp_path / "before"
    assert run(out, experiment=second(before)) == 143
    said = capfd.readouterr().err
    assert "stopped by SIGTERM; nothing of the run was trained yet: start again with" in said
    assert f"the same settings, --out {out} --resume" in said
    assert [row["step"] for row in rows_of(before)] == [10]
    assert not (before / "summary.json").exists() and not (out / "metrics.jsonl").exists()
    assert run(out, "--resume", experiment=second(before)) == 0
    assert [row["step"] for row in rows_of(before)] == [10, 20] and len(calls) == 2
    flags = ("--num_seeds", "2", "--num_steps", str(STEPS))
    assert run(tmp_path / "alone", *flags, experiment=tiny(name="first")) == 0
    hashes = [summary_of(path)["final_params_sha256"] for path in (before, tmp_path / "alone")]
    assert hashes[0] == hashes[1]


def test_a_check_says_what_a_run_would_train_and_trains_nothing(first, tmp_path, capfd):
    before = tmp_path / "before"
    assert check(second(before), ["--num_devices", "1"]) == 0
    said = capfd.readouterr().out.splitlines()
    assert said[0] == f"first: none in {before} yet; a run trains it first" and said[-1] == "ok"
    assert not before.exists()
    assert run(before, experiment=tiny(name="first")) == 0
    capfd.readouterr()
    assert check(second(before), ["--num_devices", "1"]) == 0
    assert "a run trains it first" not in capfd.readouterr().out


def test_a_folder_of_ones_own_is_never_trained_in(first, tmp_path, capfd):
    own, out = tmp_path / "own", tmp_path / "run"
    flags = ("--before", str(own))
    assert run(out, *flags, experiment=second("unused")) == 2
    assert f"{own} holds no finished run of first" in capfd.readouterr().err
    assert not own.exists() and not (out / "config.json").exists()
    assert run(own, "--rate", "0.3", experiment=tiny(name="first")) == 0
    assert run(out, *flags, experiment=second("unused")) == 0
    assert json.loads((out / "environment.json").read_text())["dataset"]["target"] == ended_at(own)
    assert run(tmp_path / "other", experiment=tiny(name="third")) == 0
    assert run(tmp_path / "b", "--before", str(tmp_path / "other"), experiment=second("x")) == 2
    assert "holds a run of 'third', not of first" in capfd.readouterr().err


def test_what_is_needed_must_not_diverge(first, tmp_path, capfd):
    out, before = tmp_path / "run", tmp_path / "before"
    assert run(out, experiment=second(before, poison=-100.0)) == 2
    assert f"first in {before}: every seed diverged" in capfd.readouterr().err
    assert not (out / "config.json").exists()  # so the folder can be used again


def test_a_grid_over_what_is_needed(first, tmp_path, capfd):
    """Both runs are there, and what they give differs: a run for each."""
    for name, rate in (("a", "0.1"), ("b", "0.3")):
        assert run(tmp_path / name, "--rate", rate, experiment=tiny(name="first")) == 0
    grid = {"before": (str(tmp_path / "a"), str(tmp_path / "b"))}
    assert run(tmp_path / "run", experiment=second("unused"), grid=grid) == 2
    assert f"before={tmp_path / 'b'} changes the data" in capfd.readouterr().err


def test_an_experiment_that_is_not_there(first):
    with pytest.raises(ConfigError, match="unknown experiment 'frist' .did you mean 'first'"):
        needed_experiment(Need("frist", {}, "folder"))
