"""Runs and what computes their convolutions: noted, and the same after a resume."""

import dataclasses
import functools
import json
import signal

import backends
import jax
import jax.numpy as jnp
import optax
import pytest
from tiny_game import run, stopping, summary_of, tiny

from dgm_jax import training
from dgm_jax.core import Aux, Player, Task
from dgm_jax.networks.layers import convolution
from dgm_jax.run import arms, identity


def filters(config, hyper, inputs):
    """A kernel [2, 2, 1, 1] learns the mean of its window by SGD."""
    del config, inputs

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
    algorithm = functools.partial(training.alternating, players, {"p": optax.sgd(hyper["rate"])})
    return Task(init, draw, algorithm, evaluate)


EXPERIMENT = dataclasses.replace(tiny(), build=filters)


def stop_early(out, name):
    """A run of it that is stopped after its first row."""
    experiment = dataclasses.replace(stopping(signal.SIGTERM, 1), build=filters)
    assert run(out, "--convolutions", name, experiment=experiment) == 143


@pytest.fixture
def stopped(tmp_path):
    """The folder of a run by "plain", stopped after its first row."""
    stop_early(tmp_path / "run", "plain")
    return tmp_path / "run"


def test_what_computed_them_is_written_down(stopped):
    assert json.loads((stopped / "environment.json").read_text())["convolutions"] == "plain"


def test_a_resumed_run_is_refused_another_by_name(stopped, capfd):
    capfd.readouterr()
    flags = ("--convolutions", "lax", "--resume")
    assert run(stopped, *flags, experiment=EXPERIMENT) == 2
    said = capfd.readouterr().err
    assert "started with convolutions by plain, and lax gives other bits" in said
    assert "--convolutions plain" in said
    assert json.loads((stopped / "environment.json").read_text())["convolutions"] == "plain"
    assert run(stopped, "--convolutions", "plain", "--resume", experiment=EXPERIMENT) == 0


@pytest.mark.parametrize("name", backends.CPU)
def test_a_resumed_run_ends_with_the_bits_of_a_whole_one(name, tmp_path):
    flags = ("--convolutions", name)
    stop_early(tmp_path / "stopped", name)
    assert run(tmp_path / "stopped", *flags, "--resume", experiment=EXPERIMENT) == 0
    assert run(tmp_path / "whole", *flags, experiment=EXPERIMENT) == 0
    stopped, whole = (summary_of(tmp_path / folder) for folder in ("stopped", "whole"))
    assert stopped["final_params_sha256"] == whole["final_params_sha256"]


def test_a_checkpoint_that_does_not_say_what_computed_it_is_refused(tmp_path, monkeypatch, capfd):
    """As those of versions that had one way only."""
    with monkeypatch.context() as older:
        for module in (arms, identity):
            older.setattr(module, "convolutions_of", lambda compiled, lanes: None)
        stop_early(tmp_path, "plain")
    capfd.readouterr()
    assert run(tmp_path, "--convolutions", "plain", "--resume", experiment=EXPERIMENT) == 2
    said = capfd.readouterr().err
    assert "belongs to another run: convolutions: " in said and "'plain' here" in said


def test_the_checkpoints_know_it_where_the_environment_is_lost(stopped, capfd):
    """And the refused start is not what the next one is compared with."""
    (stopped / "environment.json").unlink()
    assert run(stopped, "--convolutions", "lax", "--resume", experiment=EXPERIMENT) == 2
    assert "convolutions: 'plain' there, 'lax' here" in capfd.readouterr().err
    assert run(stopped, "--convolutions", "plain", "--resume", experiment=EXPERIMENT) == 0
    noted = json.loads((stopped / "environment.json").read_text())
    assert noted["convolutions"] == "plain"


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
    with pytest.raises(SystemExit) as stop:
        run(tmp_path / "run", "--convolutions", "product")
    assert stop.value.code == 2 and "'product'" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()
