"""Whole runs of a tiny game in this process: what they leave behind, how they stop, and how they go on.

`test_launch_killed.py` does the same to a real experiment in a process of its own.
"""

import dataclasses
import json
import os
import pathlib
import signal
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import parallel, training
from dgm_jax.core import Aux, Player, Task, lookup
from dgm_jax.run import Data, Experiment, RunConfig, main
from dgm_jax.run.arms import lanes_of
from dgm_jax.run.experiment import arms, groups

FILES = {"config.json", "environment.json", "metrics.jsonl", "summary.json", "report.html", "checkpoints", "figures"}
SUMMARY = {
    "experiment", "config", "num_seeds", "num_steps", "wall_seconds", "compile_seconds", "seed_steps_per_second",
    "failed_seeds", "metrics", "reference",
}


# A game in one variable: w descends (w - x)^2 / 2 for noisy x around `target`.


@dataclasses.dataclass(frozen=True)
class Tiny(RunConfig):
    """A game in one variable."""

    kind: tuple[str, ...] = ("plain",)
    """Arms: plain, or half (half the learning rate)."""
    rate: float = 0.1
    """Learning rate."""
    poison: float = 1e9
    """A seed whose first number is larger than this stops being finite at step 5."""


def build(config, data):
    """One variable by SGD."""
    rate = config.rate / 2 if config.kind[0] == "half" else config.rate

    def loss(params, state, batch, key):
        sick = (params["p"]["start"] > config.poison) & (batch["index"][0] == 5)
        value = jnp.mean((params["p"]["w"] - batch["x"]) ** 2) / 2
        return value + jnp.where(sick, jnp.nan, 0.0), Aux(state, {"seen": jnp.mean(batch["x"])})

    def init(key):
        w = jax.random.normal(key)
        return {"p": {"w": w, "start": w}}, {}

    def draw(arrays, data_key, index):
        noise = jax.random.normal(jax.random.fold_in(data_key, index), (8,))
        return {"x": arrays["target"] + noise, "index": jnp.broadcast_to(index, (8,))}

    def evaluate(train_state, arrays, key):
        w = train_state.params["p"]["w"]
        return {"w": w, "error": jnp.abs(w - arrays["target"]), "picture": jnp.stack([w, jax.random.normal(key)])}

    players = {"p": Player(("p",), loss)}
    freeze_start = optax.masked(optax.set_to_zero(), lambda tree: {"p": {"w": False, "start": True}})
    optimizer = optax.chain(optax.sgd(rate), freeze_start)
    return Task(init, draw, partial(training.alternating, players, {"p": optimizer}), evaluate)


def validate(config):
    for kind in config.kind:
        lookup({"plain": 0, "half": 0}, kind, "kind")


def tiny(**changes) -> Experiment:
    return Experiment(**{
        "name": "tiny",
        "config": Tiny,
        "load": lambda config: Data({"target": jnp.float32(2.0)}, {"name": "number", "identity": "number"}),
        "build": build,
        "distribute": partial(parallel.distribute, only=jax.devices()[:1]),
        "validate": validate,
        "headline": ("error",),
        "arm_field": "kind",
        **changes,
    })


def run(out, *flags, experiment=None, grid=None):
    basic = ["--num_seeds", "3", "--num_steps", "30", "--log_every", "10", "--progress", "quiet"]
    return main(experiment or tiny(), [*basic, "--out", str(out), *flags], grid)


def summary_of(out):
    return json.loads((pathlib.Path(out) / "summary.json").read_text())


def rows_of(out):
    return [json.loads(line) for line in (pathlib.Path(out) / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    assert run(out) == 0
    return out


def test_a_run_leaves_its_folder(undisturbed):
    assert FILES <= {path.name for path in undisturbed.iterdir()}
    summary = summary_of(undisturbed)
    assert SUMMARY <= set(summary)
    assert (summary["experiment"], summary["num_seeds"], summary["num_steps"]) == ("tiny", 3, 30)
    assert summary["failed_seeds"] == [] and summary["seed_steps_per_second"] > 0
    error = summary["metrics"]["error"]
    assert {"per_seed", "mean", "standard_error", "interval_95"} <= set(error)
    assert len(error["per_seed"]) == 3 and error["mean"] == pytest.approx(np.mean(error["per_seed"]))
    assert [row["step"] for row in rows_of(undisturbed)] == [10, 20, 30]
    assert all(len(row["error"]) == 3 and len(row["p_loss"]) == 3 for row in rows_of(undisturbed))
    assert "picture" not in rows_of(undisturbed)[0]


def test_the_result_is_the_game_played_by_hand(undisturbed):
    """Seed i of the run, replayed in numpy from its keys: w <- w - rate (w - mean of the batch)."""
    for i in range(3):
        key_params, key_train, _ = jax.random.split(jax.random.fold_in(jax.random.key(0), i), 3)
        data_key = jax.random.split(key_train)[1]
        w = float(jax.random.normal(key_params))
        for step in range(30):
            x = 2.0 + np.asarray(jax.random.normal(jax.random.fold_in(data_key, step), (8,)), np.float64)
            w -= 0.1 * (w - x.mean())
        assert summary_of(undisturbed)["metrics"]["w"]["per_seed"][i] == pytest.approx(w, abs=1e-5)


def test_the_same_flags_give_the_same_bits(undisturbed, tmp_path):
    assert run(tmp_path / "again") == 0
    assert summary_of(tmp_path / "again")["final_params_sha256"] == summary_of(undisturbed)["final_params_sha256"]
    assert rows_of(tmp_path / "again") == rows_of(undisturbed)
    assert run(tmp_path / "other", "--seed", "1") == 0
    assert summary_of(tmp_path / "other")["final_params_sha256"] != summary_of(undisturbed)["final_params_sha256"]


def test_arms_share_seeds_and_differ_in_settings(tmp_path):
    assert run(tmp_path, "--kind", "plain", "half") == 0
    summary = summary_of(tmp_path)
    assert summary["arms"] == ["plain", "half"] and {"plain/error", "half/error"} <= set(summary["metrics"])
    first = {row["arm"]: row for row in rows_of(tmp_path) if row["step"] == 10}
    assert first["plain"]["seen"] == first["half"]["seen"]  # the same data, seed by seed
    assert first["plain"]["w"] != first["half"]["w"]
    assert summary["differences"]


def test_a_grid_of_numbers_is_one_program_and_equals_separate_runs(undisturbed, tmp_path):
    compiled = []

    def distribute(program, keys, *args, **options):
        compiled.append(len(keys))
        return parallel.distribute(program, keys, *args, **{**options, "only": jax.devices()[:1]})

    assert run(tmp_path / "grid", experiment=tiny(distribute=distribute), grid={"rate": (0.1, 0.4)}) == 0
    assert compiled == [6]
    assert run(tmp_path / "alone", "--rate", "0.4") == 0
    metrics = summary_of(tmp_path / "grid")["metrics"]
    names = [name for name in metrics if name.endswith("/w")]
    assert len(names) == 2
    for name, alone in zip(names, (undisturbed, tmp_path / "alone")):
        np.testing.assert_allclose(metrics[name]["per_seed"], summary_of(alone)["metrics"]["w"]["per_seed"], rtol=1e-5)


def test_a_grid_over_the_arms_is_their_flag(tmp_path):
    assert run(tmp_path, grid={"kind": ("half",), "rate": (0.1, 0.2)}) == 0
    assert summary_of(tmp_path)["arms"] == ["half, rate=0.1", "half, rate=0.2"]
    assert summary_of(tmp_path)["config"]["kind"] == ["half"]


def test_keys_of_seeds_differ_and_arms_share_them():
    config = Tiny(num_seeds=5)
    (group,) = groups(arms(tiny(), config, {"rate": (0.1, 0.2, 0.3)}), {"rate": (0.1, 0.2, 0.3)})
    keys, hyper = lanes_of(group, config)
    data = np.asarray(jax.random.key_data(keys)).reshape(3, 5, -1)
    assert len({tuple(row) for row in data[0].tolist()}) == 5
    assert np.array_equal(data[0], data[1]) and np.array_equal(data[0], data[2])
    np.testing.assert_allclose(hyper["rate"], np.repeat([0.1, 0.2, 0.3], 5), rtol=1e-6)


# Seeds that diverge.


def starts(num_seeds):
    """The first number of each seed."""
    keys = [jax.random.split(jax.random.fold_in(jax.random.key(0), i), 3)[0] for i in range(num_seeds)]
    return [float(jax.random.normal(key)) for key in keys]


def test_a_seed_that_diverges_is_reported_and_the_others_keep_their_bits(undisturbed, tmp_path):
    sick = int(np.argmax(starts(3)))
    threshold = sorted(starts(3))[-2]
    assert run(tmp_path, "--poison", str(threshold)) == 0
    summary = summary_of(tmp_path)
    assert [(f["seed"], f["step"]) for f in summary["failed_seeds"]] == [(sick, 5)]
    per_seed = summary["metrics"]["w"]["per_seed"]
    healthy = summary_of(undisturbed)["metrics"]["w"]["per_seed"]
    assert per_seed[sick] is None
    assert [w for i, w in enumerate(per_seed) if i != sick] == [w for i, w in enumerate(healthy) if i != sick]
    assert all(row["w"][sick] is None for row in rows_of(tmp_path))


def test_all_seeds_diverged_ends_the_run_early_with_6(tmp_path):
    assert run(tmp_path, "--poison", "-100") == 6
    assert [row["step"] for row in rows_of(tmp_path)] == [10]
    assert len(summary_of(tmp_path)["failed_seeds"]) == 3


def test_a_finished_run_that_diverged_still_says_so(tmp_path):
    assert run(tmp_path, "--poison", "-100") == 6
    assert run(tmp_path, "--poison", "-100", "--resume") == 6


def test_the_conclusion_comes_although_all_seeds_diverged(tmp_path):
    """`figures` may ask for what only the conclusion returns, so it must be there however the run ended."""
    seen = []
    experiment = tiny(build=concluding, figures=lambda results, data: seen.extend(results) or {})
    assert run(tmp_path, "--poison", "-100", experiment=experiment) == 6
    assert seen[0].arrays["late_picture"].shape == (3, 2)
    assert "square" not in rows_of(tmp_path)[-1]


def test_a_disk_that_refuses_ends_the_run_with_a_sentence(undisturbed, tmp_path, capfd):
    """The row of step 20 cannot be written; after the disk has room again the run ends with the same bits."""
    calls = []

    def finalise(arrays, config, data):
        calls.append(0)
        if len(calls) == 2:
            raise OSError(28, "No space left on device", "metrics.jsonl")
        return {name: value for name, value in arrays.items() if value.ndim == 1}

    assert run(tmp_path / "a", experiment=tiny(finalise=finalise)) == 2
    said = capfd.readouterr().err
    assert "No space left on device" in said and "--resume" in said and "Traceback" not in said
    assert run(tmp_path / "a", "--resume") == 0
    assert rows_of(tmp_path / "a") == rows_of(undisturbed)
    assert summary_of(tmp_path / "a")["final_params_sha256"] == summary_of(undisturbed)["final_params_sha256"]


def test_resuming_past_an_arm_that_diverged_adds_no_rows(tmp_path):
    """The first of two arms has failed for good, the second is interrupted: the whole is as if undisturbed."""
    flags = ("--kind", "plain", "half", "--poison", "-100")
    assert run(tmp_path / "whole", *flags) == 6
    calls = []

    def finalise(arrays, config, data):
        calls.append(config.kind)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"w": arrays["w"]}

    assert run(tmp_path / "stopped", *flags, experiment=tiny(finalise=finalise)) == 143
    assert run(tmp_path / "stopped", *flags, "--resume", experiment=tiny(finalise=finalise)) == 6
    steps = lambda out: [(row["arm"], row["step"]) for row in rows_of(out)]
    assert steps(tmp_path / "stopped") == steps(tmp_path / "whole")


# Stopping and going on.


def stopping(number, at):
    """The tiny experiment, which sends itself a signal at its `at`-th evaluation."""
    calls = []

    def finalise(arrays, config, data):
        calls.append(0)
        if len(calls) == at:
            os.kill(os.getpid(), number)
        return {name: value for name, value in arrays.items() if value.ndim == 1}

    return tiny(finalise=finalise)


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_stops_and_resume_ends_with_the_same_bits(undisturbed, tmp_path, capfd, number, code):
    handler = signal.getsignal(number)
    assert run(tmp_path / "a", experiment=stopping(number, 2)) == code
    assert "--resume" in capfd.readouterr().err
    assert signal.getsignal(number) is handler
    assert [row["step"] for row in rows_of(tmp_path / "a")] == [10, 20]
    assert not (tmp_path / "a" / "summary.json").exists()
    assert run(tmp_path / "a", "--resume") == 0
    assert rows_of(tmp_path / "a") == rows_of(undisturbed)
    assert summary_of(tmp_path / "a")["final_params_sha256"] == summary_of(undisturbed)["final_params_sha256"]


@pytest.mark.parametrize("devices_then", [1, 3])
def test_resume_on_other_devices(undisturbed, tmp_path, devices_then):
    """Started on one device and continued on three, or the other way round: the same bits."""
    on = lambda count: partial(parallel.distribute, only=jax.devices()[:count])
    first = dataclasses.replace(stopping(signal.SIGTERM, 1), distribute=on(devices_then))
    assert run(tmp_path / "a", experiment=first) == 143
    assert run(tmp_path / "a", "--resume", experiment=tiny(distribute=on(4 - devices_then))) == 0
    assert summary_of(tmp_path / "a")["final_params_sha256"] == summary_of(undisturbed)["final_params_sha256"]


def concluding(config, data):
    """`build` with a figure that is worked out after the last step only."""
    def conclude(train_state, arrays, key):
        return {"square": jnp.square(train_state.params["p"]["w"]), "late_picture": jnp.ones((2,))}

    return build(config, data)._replace(conclude=conclude)


@pytest.mark.parametrize("flags", [(), ("--strategy", "map"), ("--devices", "pmap")])
def test_a_conclusion_joins_the_last_evaluation(tmp_path, flags):
    seen = []
    experiment = tiny(build=concluding, figures=lambda results, data: seen.extend(results) or {})
    assert run(tmp_path, *flags, experiment=experiment) == 0
    rows = rows_of(tmp_path)
    assert ["square" in row for row in rows] == [False, False, True]
    np.testing.assert_allclose(rows[-1]["square"], np.square(rows[-1]["w"]), rtol=1e-6)
    assert summary_of(tmp_path)["metrics"]["square"]["per_seed"] == rows[-1]["square"]
    assert seen[0].arrays["late_picture"].shape == (3, 2) and seen[0].arrays["picture"].shape == (3, 2)


def test_the_evaluation_stands_where_training_has_the_same_name(tmp_path):
    def twice(config, data):
        task = build(config, data)
        return task._replace(evaluate=lambda *given: task.evaluate(*given) | {"p_loss": jnp.float32(-7.0)})

    assert run(tmp_path, experiment=tiny(build=twice)) == 0
    assert [row["p_loss"] for row in rows_of(tmp_path)] == [[-7.0] * 3] * 3


def test_a_damaged_checkpoint_costs_a_chunk_and_no_bits(undisturbed, tmp_path, capfd):
    assert run(tmp_path / "a", experiment=stopping(signal.SIGTERM, 2)) == 143
    newest = tmp_path / "a" / "checkpoints" / "plain" / "20"
    for path in newest.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:7])
    assert run(tmp_path / "a", "--resume", "--progress", "lines") == 0
    said = capfd.readouterr()
    assert "checkpoint 20 cannot be read" in said.err + said.out and "step 10" in said.err + said.out
    assert rows_of(tmp_path / "a") == rows_of(undisturbed)
    assert summary_of(tmp_path / "a")["final_params_sha256"] == summary_of(undisturbed)["final_params_sha256"]


def test_a_finished_run_is_left_alone(undisturbed):
    before = (undisturbed / "metrics.jsonl").read_bytes(), (undisturbed / "summary.json").read_bytes()
    assert run(undisturbed, "--resume") == 0
    assert run(undisturbed) == 2
    assert before == ((undisturbed / "metrics.jsonl").read_bytes(), (undisturbed / "summary.json").read_bytes())


def test_without_out_the_newest_run_is_resumed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    basic = ["--num_seeds", "2", "--num_steps", "20", "--log_every", "10", "--progress", "quiet"]
    assert main(stopping(signal.SIGTERM, 1), basic) == 143
    assert main(tiny(), [*basic, "--resume"]) == 0
    (folder,) = (tmp_path / "runs" / "tiny").iterdir()
    assert [row["step"] for row in rows_of(folder)] == [10, 20]


# What a person gets wrong.


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--kind", "plane"], ["unknown kind 'plane'", "did you mean 'plain'", "half"]),
        (["--num_steps", "-3"], ["num_steps", "at least 1", "-3"]),
        (["--num_seeds", "0"], ["num_seeds", "at least 1", "got 0"]),
        (["--log_every", "0"], ["log_every", "at least 1", "got 0"]),
        (["--rate", "nan"], ["rate", "finite", "nan"]),
        (["--kind", "plain", "plain"], ["different", "plain"]),
        (["--devices", "pmpa"], ["pmpa", "pmap"]),
        (["--strategy", "vamp"], ["vamp", "vmap"]),
    ],
)
def test_bad_settings_are_named_before_anything_runs(tmp_path, capfd, flags, words):
    assert run(tmp_path / "never", *flags) == 2
    said = capfd.readouterr().err
    assert all(word in said for word in words), said
    assert "Traceback" not in said
    assert not (tmp_path / "never" / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    "flags, words", [(["--num_seed", "3"], ["num_seed"]), (["--rate", "fast"], ["rate", "fast"])]
)
def test_unknown_flags_and_words_for_numbers(tmp_path, capfd, flags, words):
    with pytest.raises(SystemExit) as stop:
        run(tmp_path / "never", *flags)
    said = capfd.readouterr()
    assert stop.value.code == 2 and all(word in said.err + said.out for word in words)
    assert not (tmp_path / "never").exists()


def test_a_folder_of_another_run_is_refused(undisturbed, tmp_path, capfd):
    assert run(tmp_path / "a", experiment=stopping(signal.SIGTERM, 1)) == 143
    capfd.readouterr()
    assert run(tmp_path / "a", "--resume", "--devices", "pmap") == 2  # its devices draw noise of their own
    assert "devices" in capfd.readouterr().err
    assert run(tmp_path / "a", "--resume", "--rate", "0.2") == 2
    said = capfd.readouterr().err
    assert "rate: 0.1 there, 0.2 here" in said
    assert run(tmp_path / "a") == 2
    assert "--resume" in capfd.readouterr().err
