"""Whole runs of a tiny game in this process: what they leave behind, and what a person gets wrong.

`test_launch_stopped.py` has the runs that diverge or are stopped.
"""

import html
import json
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_game import Tiny, build, rows_of, run, stopping, summary_of, tiny, with_final_evaluation

from dgm_jax.report.text import number
from dgm_jax.run.cells import arms, groups
from dgm_jax.run.lanes import lanes_of

pytestmark = pytest.mark.optimized

FILES = {
    "config.json",
    "environment.json",
    "metrics.jsonl",
    "summary.json",
    "report.html",
    "checkpoints",
    "figures",
}
SUMMARY = {
    "experiment",
    "config",
    "num_seeds",
    "num_steps",
    "wall_seconds",
    "compile_seconds",
    "seed_steps_per_second",
    "failed_seeds",
    "metrics",
    "reference",
}


def test_a_run_leaves_its_folder(undisturbed):
    assert FILES <= {path.name for path in undisturbed.iterdir()}
    summary = summary_of(undisturbed)
    assert SUMMARY <= set(summary)
    assert (summary["experiment"], summary["num_seeds"], summary["num_steps"]) == ("tiny", 3, 30)
    assert summary["failed_seeds"] == [] and summary["seed_steps_per_second"] > 0
    error = summary["metrics"]["error"]
    assert {"per_seed", "mean", "standard_error", "interval_95"} <= set(error)
    assert len(error["per_seed"]) == 3 and error["mean"] == pytest.approx(
        np.mean(error["per_seed"])
    )
    low, high = error["bootstrap_95"]  # a mean of resampled seeds never leaves their range
    assert min(error["per_seed"]) <= low <= error["mean"] <= high <= max(error["per_seed"])
    assert error["interquartile_mean"] == pytest.approx(error["mean"])  # of 3 seeds none is cut
    report = (undisturbed / "report.html").read_text("utf-8")
    assert '<th scope="col">IQM</th><th scope="col">bootstrap</th>' in report
    assert f"[{number(low)}, {number(high)}]" in report
    assert [row["step"] for row in rows_of(undisturbed)] == [10, 20, 30]
    assert all(len(row["error"]) == 3 and len(row["p.loss"]) == 3 for row in rows_of(undisturbed))
    assert "picture" not in rows_of(undisturbed)[0]


def test_the_result_is_the_game_played_by_hand(undisturbed):
    """Seed i of the run, replayed in numpy from its keys: w <- w - rate (w - mean of the batch)."""
    for i in range(3):
        key_params, key_train, _ = jax.random.split(jax.random.fold_in(jax.random.key(0), i), 3)
        data_key = jax.random.split(key_train)[1]
        w = float(jax.random.normal(key_params))
        for step in range(30):
            x = 2.0 + np.asarray(
                jax.random.normal(jax.random.fold_in(data_key, step), (8,)), np.float64
            )
            w -= 0.1 * (w - x.mean())
        assert summary_of(undisturbed)["metrics"]["w"]["per_seed"][i] == pytest.approx(w, abs=1e-5)


def test_the_same_flags_give_the_same_bits(undisturbed, tmp_path):
    assert run(tmp_path / "again") == 0
    assert (
        summary_of(tmp_path / "again")["final_params_sha256"]
        == summary_of(undisturbed)["final_params_sha256"]
    )
    assert rows_of(tmp_path / "again") == rows_of(undisturbed)
    assert run(tmp_path / "other", "--seed", "1") == 0
    assert (
        summary_of(tmp_path / "other")["final_params_sha256"]
        != summary_of(undisturbed)["final_params_sha256"]
    )


def test_arms_share_seeds_and_differ_in_settings(tmp_path):
    assert run(tmp_path, "--kind", "plain", "half") == 0
    summary = summary_of(tmp_path)
    assert summary["arms"] == ["plain", "half"] and {"plain/error", "half/error"} <= set(
        summary["metrics"]
    )
    first = {row["arm"]: row for row in rows_of(tmp_path) if row["step"] == 10}
    assert first["plain"]["p.seen"] == first["half"]["p.seen"]  # the same data, seed by seed
    assert first["plain"]["w"] != first["half"]["w"]
    assert summary["differences"]


def test_a_grid_of_numbers_is_one_program_and_equals_separate_runs(undisturbed, tmp_path):
    assert run(tmp_path / "grid", grid={"rate": (0.1, 0.4)}) == 0
    assert len(list((tmp_path / "grid" / "checkpoints").iterdir())) == 1
    assert run(tmp_path / "alone", "--rate", "0.4") == 0
    metrics = summary_of(tmp_path / "grid")["metrics"]
    names = [name for name in metrics if name.endswith("/w")]
    assert len(names) == 2
    for name, alone in zip(names, (undisturbed, tmp_path / "alone"), strict=True):
        np.testing.assert_allclose(
            metrics[name]["per_seed"], summary_of(alone)["metrics"]["w"]["per_seed"], rtol=1e-5
        )


def test_the_time_left_of_a_run_covers_its_arms(tmp_path, capfd):
    """Two programs, the first of which trains two arms."""
    flags = ("--kind", "plain", "half", "--progress", "json")
    assert run(tmp_path, *flags, grid={"rate": (0.1, 0.2)}) == 0
    events = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    events = [event for event in events if event["event"] == "progress"]
    assert [event["arms"] for event in events] == [[1, 2, 4]] * 3 + [[3, 4, 4]] * 3
    for event in events:
        to_come = 30 * 6 if event["arms"][0] == 1 else 0
        left = (30 - event["step"]) * 6 + to_come
        assert event["eta_seconds"] * event["seed_steps_per_second"] == pytest.approx(left)


def test_settings_without_effect_are_named(tmp_path, capfd):
    """No seed is ever larger than either of two large numbers."""
    grid = {"poison": (1e8, 1e9), "rate": (0.1, 0.2)}
    assert run(tmp_path, grid=grid) == 0
    names = summary_of(tmp_path)["arms"]
    hashes = summary_of(tmp_path)["final_params_sha256"]
    pairs = [names[0], names[2]], [names[1], names[3]]
    for pair in pairs:
        assert hashes[pair[0]] == hashes[pair[1]]
    assert summary_of(tmp_path)["notes"] == [
        f"these settings made no difference: ({a}) = ({b}): equal parameters and values, bit for"
        " bit"
        for a, b in pairs
    ]
    shown = capfd.readouterr().out
    report = html.unescape((tmp_path / "report.html").read_text())
    for note in summary_of(tmp_path)["notes"]:
        assert note in shown and note in report


def test_settings_that_only_the_evaluation_sees_are_told_apart(tmp_path):
    def summarize(arrays, config, inputs):
        return {"error": arrays["error"], "weighted": arrays["error"] * config.poison}

    assert run(tmp_path, grid={"poison": (1e8, 1e9)}, experiment=tiny(summarize=summarize)) == 0
    (note,) = summary_of(tmp_path)["notes"]
    assert note.startswith("these settings made no difference to the training: (plain, poison=1")
    assert "to the evaluation at most" in note


@pytest.mark.parametrize(
    "grid",
    [
        {"rate": (0.1, 0.2)},
        {"poison": (-100.0, -200.0)},  # all seeds frozen at step 5, whatever they would have become
    ],
)
def test_settings_with_an_effect_are_not_named(tmp_path, grid):
    assert run(tmp_path, grid=grid) == (6 if "poison" in grid else 0)
    assert len(set(summary_of(tmp_path)["final_params_sha256"].values())) == 2 - ("poison" in grid)
    assert summary_of(tmp_path)["notes"] == []


def test_a_grid_over_the_arms_is_their_flag(tmp_path):
    assert run(tmp_path, grid={"kind": ("half",), "rate": (0.1, 0.2)}) == 0
    assert summary_of(tmp_path)["arms"] == ["half, rate=0.1", "half, rate=0.2"]
    assert summary_of(tmp_path)["config"]["kind"] == ["half"]


def test_keys_of_seeds_differ_and_arms_share_them():
    config, grid = Tiny(num_seeds=5), {"rate": (0.1, 0.2, 0.3)}
    (group,) = groups(tiny(), arms(tiny(), config, grid))
    keys, hyper = lanes_of(group, config)
    data = np.asarray(jax.random.key_data(keys)).reshape(3, 5, -1)
    assert len({tuple(row) for row in data[0].tolist()}) == 5
    assert np.array_equal(data[0], data[1]) and np.array_equal(data[0], data[2])
    np.testing.assert_allclose(hyper["rate"], np.repeat([0.1, 0.2, 0.3], 5), rtol=1e-6)


@pytest.mark.parametrize("flags", [(), ("--strategy", "map"), ("--devices", "pmap")])
def test_a_final_evaluation_joins_the_last_evaluation(tmp_path, flags):
    seen = []
    experiment = tiny(
        build=with_final_evaluation, plots=lambda results, inputs: seen.extend(results) or {}
    )
    assert run(tmp_path, *flags, experiment=experiment) == 0
    rows = rows_of(tmp_path)
    assert ["square" in row for row in rows] == [False, False, True]
    np.testing.assert_allclose(rows[-1]["square"], np.square(rows[-1]["w"]), rtol=1e-6)
    assert summary_of(tmp_path)["metrics"]["square"]["per_seed"] == rows[-1]["square"]
    assert seen[0].arrays["late_picture"].shape == (3, 2) and seen[0].arrays["picture"].shape == (
        3,
        2,
    )


def test_the_evaluation_stands_where_training_has_the_same_name(tmp_path):
    def twice(config, hyper, inputs):
        task = build(config, hyper, inputs)
        return task._replace(
            evaluate=lambda *given: task.evaluate(*given) | {"p.loss": jnp.float32(-7.0)}
        )

    assert run(tmp_path, experiment=tiny(build=twice)) == 0
    assert [row["p.loss"] for row in rows_of(tmp_path)] == [[-7.0] * 3] * 3


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
        (["--num_devices", "-1"], ["num_devices", "0 (all) to 8", "-1"]),
    ],
)
def test_bad_settings_are_named_before_anything_runs(tmp_path, capfd, flags, words):
    assert run(tmp_path / "never", *flags) == 2
    said = capfd.readouterr().err
    assert all(word in said for word in words), said
    assert "Traceback" not in said
    assert not (tmp_path / "never" / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--num_seed", "3"], ["num_seed"]),
        (["--rate", "fast"], ["rate", "fast"]),
        (["--devices", "pmpa"], ["pmpa", "pmap"]),
        (["--strategy", "vamp"], ["vamp", "vmap"]),
        (["--progress", "loud"], ["loud", "quiet"]),
    ],
)
def test_unknown_flags_words_for_numbers_and_other_choices(tmp_path, capfd, flags, words):
    with pytest.raises(SystemExit) as stop:
        run(tmp_path / "never", *flags)
    said = capfd.readouterr()
    assert stop.value.code == 2 and all(word in said.err + said.out for word in words)
    assert not (tmp_path / "never").exists()


def test_a_folder_of_another_run_is_refused(undisturbed, tmp_path, capfd):
    assert run(tmp_path / "a", experiment=stopping(signal.SIGTERM, 1)) == 143
    capfd.readouterr()
    # its devices draw noise of their own
    assert run(tmp_path / "a", "--resume", "--devices", "pmap") == 2
    assert "layout: 'jit' there, 'pmap' here" in capfd.readouterr().err
    assert run(tmp_path / "a", "--resume", "--strategy", "map") == 2
    assert "strategy: 'vmap' there, 'map' here" in capfd.readouterr().err
    assert run(tmp_path / "a", "--resume", "--rate", "0.2") == 2
    said = capfd.readouterr().err
    assert "rate: 0.1 there, 0.2 here" in said
    assert run(tmp_path / "a") == 2
    assert "--resume" in capfd.readouterr().err
