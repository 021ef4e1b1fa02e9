"""Runs and what computes their convolutions: noted, and the same after a resume."""

import dataclasses
import functools
import json
import signal

import jax
import jax.numpy as jnp
import optax
import pytest
from tiny_game import run, stopping, summary_of, tiny

from dgm_jax import training
from dgm_jax.core import Aux, Player, Task
from dgm_jax.networks import convolution


def filters(config, data):
    """A kernel [2, 2, 1, 1] learns the mean of its window by SGD."""
    del data

    def loss(params, state, batch, key):
        found = convolution.conv(batch["x"], params["p"]["kernel"], padding="VALID")
        wanted = jax.image.resize(batch["x"], (4, 2, 2, 1), "linear", antialias=True)
        return jnp.mean(jnp.square(found[:, ::2, ::2] - wanted)), Aux(state, {})

    def draw(arrays, data_key, index):
        return {"x": jax.random.normal(jax.random.fold_in(data_key, index), (4, 4, 4, 1))}

    def init(key):
        return {"p": {"kernel": jax.random.normal(key, (2, 2, 1, 1))}}, {}

    def evaluate(train_state, arrays, key):
        return {"error": jnp.max(jnp.abs(train_state.params["p"]["kernel"] - 0.25))}

    players = {"p": Player(("p",), loss)}
    algorithm = functools.partial(training.alternating, players, {"p": optax.sgd(config.rate)})
    return Task(init, draw, algorithm, evaluate)


EXPERIMENT = dataclasses.replace(tiny(), build=filters)


@pytest.fixture
def stopped(tmp_path):
    """The folder of a run by "plain", stopped after its first row."""
    experiment = dataclasses.replace(stopping(signal.SIGTERM, 1), build=filters)
    out = tmp_path / "run"
    assert run(out, "--convolutions", "plain", experiment=experiment) == 143
    return out


def test_what_computed_them_is_written_down(stopped):
    assert json.loads((stopped / "environment.json").read_text())["convolutions"] == "plain"


def test_a_resumed_run_takes_the_same_or_is_refused_by_name(stopped, tmp_path, capfd):
    before = (stopped / "environment.json").read_text()
    capfd.readouterr()
    flags = ("--convolutions", "lax", "--resume")
    assert run(stopped, *flags, experiment=EXPERIMENT) == 2
    said = capfd.readouterr().err
    assert "started with convolutions by plain, and lax gives other bits" in said
    assert "--convolutions plain" in said
    assert json.loads(before)["convolutions"] == "plain"
    again = ("--convolutions", "plain", "--resume")
    assert run(stopped, *again, experiment=EXPERIMENT) == 0
    assert run(tmp_path / "whole", "--convolutions", "plain", experiment=EXPERIMENT) == 0
    hashes = [summary_of(out)["final_params_sha256"] for out in (stopped, tmp_path / "whole")]
    assert hashes[0] == hashes[1]


def test_the_variable_counts_where_no_flag_is_given(stopped, monkeypatch, capfd):
    monkeypatch.setenv("DGM_JAX_CONVOLUTIONS", "lax")
    assert run(stopped, "--resume", experiment=EXPERIMENT) == 2
    assert "started with convolutions by plain" in capfd.readouterr().err
    monkeypatch.setenv("DGM_JAX_CONVOLUTIONS", "plain")
    assert run(stopped, "--resume", experiment=EXPERIMENT) == 0


def test_a_run_without_convolutions_does_not_mind(tmp_path):
    assert run(tmp_path, "--convolutions", "plain", experiment=stopping(signal.SIGTERM, 1)) == 143
    assert "convolutions" not in json.loads((tmp_path / "environment.json").read_text())
    assert run(tmp_path, "--convolutions", "lax", "--resume") == 0


def test_an_unknown_name_is_refused_before_anything_starts(tmp_path, capfd):
    assert run(tmp_path / "run", "--convolutions", "product") == 2
    assert "unknown convolution backend 'product'" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()
