"""Runs of a tiny game in this process that diverge, are stopped, find no disk, and go on.

`test_launch_killed.py` does the same to a real experiment in a process of its own.
"""

import os
import signal

import jax
import numpy as np
import pytest
from tiny_game import BASIC, rows_of, run, stopping, summary_of, tiny, with_final_evaluation

from dgm_jax.run import load, main

pytestmark = pytest.mark.optimized

# Seeds that diverge.


def starts(num_seeds):
    """The first number of each seed."""
    keys = [
        jax.random.split(jax.random.fold_in(jax.random.key(0), i), 3)[0] for i in range(num_seeds)
    ]
    return [float(jax.random.normal(key)) for key in keys]


@pytest.mark.parametrize("strategy", ["map", "vmap"])
def test_one_seed_of_32_that_diverges_is_reported_and_the_others_keep_their_bits(
    strategy, tmp_path
):
    """Rows, results, hashes and saved models, against the run in which that seed is well."""
    sick = int(np.argmax(starts(32)))
    threshold = sorted(starts(32))[-2]
    flags = ("--num_seeds", "32", "--strategy", strategy)
    assert run(tmp_path / "well", *flags) == 0
    assert run(tmp_path / "sick", *flags, "--poison", str(threshold)) == 0
    well, summary = summary_of(tmp_path / "well"), summary_of(tmp_path / "sick")
    assert well["failed_seeds"] == []
    assert [(f["seed"], f["step"]) for f in summary["failed_seeds"]] == [(sick, 5)]
    assert set(summary["metrics"]) == set(well["metrics"])
    others = [seed for seed in range(32) if seed != sick]
    for name, metric in summary["metrics"].items():
        values, expected = metric["per_seed"], well["metrics"][name]["per_seed"]
        assert values[sick] is None
        assert [values[i] for i in others] == [expected[i] for i in others]
    rows, rows_well = rows_of(tmp_path / "sick"), rows_of(tmp_path / "well")
    assert [row["step"] for row in rows] == [row["step"] for row in rows_well] == [10, 20, 30]
    for row, row_well in zip(rows, rows_well, strict=True):
        assert row["w"][sick] is None  # a frozen seed has no values, from its first row on
        for name in ("w", "error", "p.loss", "p.seen"):
            assert [row[name][i] for i in others] == [row_well[name][i] for i in others]
    saved = [load(tmp_path / name, experiment=tiny()).params["p"] for name in ("well", "sick")]
    same = np.asarray(saved[0]["w"]) == np.asarray(saved[1]["w"])
    assert np.flatnonzero(~same).tolist() == [sick]


def test_all_seeds_diverged_ends_the_run_early_with_6(tmp_path):
    assert run(tmp_path, "--poison", "-100") == 6
    assert [row["step"] for row in rows_of(tmp_path)] == [10]
    assert len(summary_of(tmp_path)["failed_seeds"]) == 3


def test_a_finished_run_that_diverged_still_says_so(tmp_path):
    assert run(tmp_path, "--poison", "-100") == 6
    assert run(tmp_path, "--poison", "-100", "--resume") == 6


def test_the_final_evaluation_comes_although_all_seeds_diverged(tmp_path):
    """`plots` may ask for what only the final evaluation returns, so it must be there
    however the run ended."""
    seen = []
    experiment = tiny(
        build=with_final_evaluation, plots=lambda results, inputs: seen.extend(results) or {}
    )
    assert run(tmp_path, "--poison", "-100", experiment=experiment) == 6
    assert seen[0].arrays["late_picture"].shape == (3, 2)
    assert "square" not in rows_of(tmp_path)[-1]


def test_a_disk_that_refuses_ends_the_run_with_a_sentence(undisturbed, tmp_path, capfd):
    """The row of step 20 cannot be written; after the disk has room again the run ends with the
    same bits."""
    calls = []

    def summarize(arrays, config, inputs):
        calls.append(0)
        if len(calls) == 2:
            raise OSError(28, "No space left on device", "metrics.jsonl")
        return {name: value for name, value in arrays.items() if value.ndim == 1}

    assert run(tmp_path / "a", experiment=tiny(summarize=summarize)) == 2
    said = capfd.readouterr().err
    assert "No space left on device" in said and "--resume" in said and "Traceback" not in said
    assert run(tmp_path / "a", "--resume") == 0
    assert rows_of(tmp_path / "a") == rows_of(undisturbed)
    assert (
        summary_of(tmp_path / "a")["final_params_sha256"]
        == summary_of(undisturbed)["final_params_sha256"]
    )


def test_resuming_past_an_arm_that_diverged_adds_no_rows(tmp_path):
    """The first of two arms has failed for good, the second is interrupted: the whole is as if
    undisturbed."""
    flags = ("--kind", "plain", "half", "--poison", "-100")
    assert run(tmp_path / "whole", *flags) == 6
    calls = []

    def summarize(arrays, config, inputs):
        calls.append(config.kind)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"w": arrays["w"]}

    assert run(tmp_path / "stopped", *flags, experiment=tiny(summarize=summarize)) == 143
    assert run(tmp_path / "stopped", *flags, "--resume", experiment=tiny(summarize=summarize)) == 6
    steps = lambda out: [(row["arm"], row["step"]) for row in rows_of(out)]
    assert steps(tmp_path / "stopped") == steps(tmp_path / "whole")


# Stopping and going on.


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_stops_and_resume_ends_with_the_same_bits(
    undisturbed, tmp_path, capfd, number, code
):
    handler = signal.getsignal(number)
    assert run(tmp_path / "a", experiment=stopping(number, 2)) == code
    assert "--resume" in capfd.readouterr().err
    assert signal.getsignal(number) is handler
    assert [row["step"] for row in rows_of(tmp_path / "a")] == [10, 20]
    assert not (tmp_path / "a" / "summary.json").exists()
    assert run(tmp_path / "a", "--resume") == 0
    assert rows_of(tmp_path / "a") == rows_of(undisturbed)
    assert (
        summary_of(tmp_path / "a")["final_params_sha256"]
        == summary_of(undisturbed)["final_params_sha256"]
    )


@pytest.mark.parametrize("devices_then", [1, 3])
def test_resume_on_other_devices(undisturbed, tmp_path, devices_then):
    """Started on one device and continued on three, or the other way round: the same bits."""
    on = lambda count: ("--num_devices", str(count))
    first = stopping(signal.SIGTERM, 1)
    assert run(tmp_path / "a", *on(devices_then), experiment=first) == 143
    assert run(tmp_path / "a", "--resume", *on(4 - devices_then)) == 0
    assert (
        summary_of(tmp_path / "a")["final_params_sha256"]
        == summary_of(undisturbed)["final_params_sha256"]
    )


def test_a_damaged_checkpoint_costs_a_chunk_and_no_bits(undisturbed, tmp_path, capfd):
    assert run(tmp_path / "a", experiment=stopping(signal.SIGTERM, 2)) == 143
    newest = tmp_path / "a" / "checkpoints" / "plain" / "20"
    for path in newest.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:7])
    assert run(tmp_path / "a", "--resume", "--progress", "lines") == 0
    said = capfd.readouterr()
    assert (
        "checkpoint 20 cannot be read" in said.err + said.out and "step 10" in said.err + said.out
    )
    assert rows_of(tmp_path / "a") == rows_of(undisturbed)
    assert (
        summary_of(tmp_path / "a")["final_params_sha256"]
        == summary_of(undisturbed)["final_params_sha256"]
    )


def test_a_finished_run_is_left_alone(undisturbed):
    before = (
        (undisturbed / "metrics.jsonl").read_bytes(),
        (undisturbed / "summary.json").read_bytes(),
    )
    assert run(undisturbed, "--resume") == 0
    assert run(undisturbed) == 2
    assert before == (
        (undisturbed / "metrics.jsonl").read_bytes(),
        (undisturbed / "summary.json").read_bytes(),
    )


def test_without_out_the_newest_run_is_resumed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = [*BASIC, "--num_seeds", "2", "--num_steps", "20"]
    assert main(stopping(signal.SIGTERM, 1), flags) == 143
    assert main(tiny(), [*flags, "--resume"]) == 0
    (folder,) = (tmp_path / "runs" / "tiny").iterdir()
    assert [row["step"] for row in rows_of(folder)] == [10, 20]
