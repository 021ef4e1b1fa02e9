"""The models that a run leaves: of each seed the best evaluation's beside the last."""

import functools
import json
import signal

import numpy as np
import pytest
from tiny_game import BASIC, rows_of, run, stopping, tiny

from dgm_jax.run import load as load_run
from dgm_jax.run.models import file_name
from dgm_jax.training.checkpoint import Checkpoints

load = functools.partial(load_run, experiment=tiny())
KEEP = ["--keep_best", "error", "--log_every", "2", "--rate", "0.5"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    out = tmp_path_factory.mktemp("kept") / "run"
    assert run(out, *KEEP) == 0
    return out


def test_the_best_model_is_each_seeds_own(kept):
    rows = rows_of(kept)
    errors = np.array([row["error"] for row in rows])
    at = errors.argmin(axis=0)
    assert len({*at}) > 1 and at.min() < len(rows) - 1, "a case that could not tell"
    found = load(kept, which="best")
    assert found.step == [rows[i]["step"] for i in at]
    truth = np.array([rows[i]["w"][seed] for seed, i in enumerate(at)], np.float32)
    np.testing.assert_array_equal(found.params["p"]["w"], truth)
    best = json.loads((kept / "models/plain.best.json").read_text())["about"]["best"]
    assert best == {"metric": "error", "less": True, "value": errors.min(axis=0).tolist()}
    np.testing.assert_array_equal(load(kept).params["p"]["w"], np.float32(rows[-1]["w"]))


def test_more_may_be_better(tmp_path):
    assert run(tmp_path / "run", "--keep_best", "error:max", "--log_every", "2") == 0
    errors = np.array([row["error"] for row in rows_of(tmp_path / "run")])
    assert load(tmp_path / "run", which="best").step == (2 * (errors.argmax(axis=0) + 1)).tolist()


@pytest.mark.parametrize("at", [1, 3, 6])
def test_a_run_that_breaks_off_between_best_and_checkpoint_ends_with_the_same_files(
    kept, tmp_path, monkeypatch, at
):
    out, save, calls = tmp_path / "run", Checkpoints.save, []

    def breaking(self, step, lanes, rows):
        calls.append(step)
        if len(calls) == at:
            raise OSError("the power is gone")
        save(self, step, lanes, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", breaking)
        assert run(out, *KEEP) == 2
    assert run(out, *KEEP, "--resume") == 0
    for name in ("plain.best.safetensors", "plain.best.json", "plain.safetensors", "plain.json"):
        assert (out / "models" / name).read_bytes() == (kept / "models" / name).read_bytes()


def test_another_keep_best_is_another_run(tmp_path, capsys):
    out = tmp_path / "run"
    assert run(out, *KEEP, experiment=stopping(signal.SIGTERM, 3)) == 128 + signal.SIGTERM
    assert run(out, *KEEP[2:], "--resume") == 2
    assert "was started with keep_best='error', not ''" in capsys.readouterr().err
    (out / "models/plain.best.json").write_text("{}")
    assert run(out, *KEEP, "--resume") == 2
    told = capsys.readouterr().err
    assert "the best model of plain is lost" in told and "to train again from step 0" in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("eror", "no metric 'eror' (did you mean 'error'?) at every evaluation; there are error, "),
        ("error:less", "must be METRIC (less is better), METRIC:min or METRIC:max, got 'error:l"),
    ],
)
def test_an_unknown_metric_is_refused_and_leaves_the_folder_free(tmp_path, capsys, text, message):
    assert run(tmp_path / "run", "--keep_best", text) == 2
    assert message in capsys.readouterr().err
    assert run(tmp_path / "run", "--keep_best", "error") == 0


def test_a_seed_that_diverges_keeps_what_it_had(tmp_path):
    """The metric of a failed seed is NaN, which is never better."""
    out = tmp_path / "run"
    flags = [*BASIC, "--num_seeds", "3", "--log_every", "2", "--keep_best", "error"]
    assert run(out, *flags[len(BASIC) :], "--poison", "-1e9") == 6
    found = load(out, which="best")
    errors = np.array([r["error"] for r in rows_of(out) if r["step"] <= 4], float)
    assert found.step == (2 * (errors.argmin(axis=0) + 1)).tolist()
    assert np.isfinite(found.params["p"]["w"]).all()


def test_no_two_arms_share_a_file():
    names = ["a", "a.best", "a.before", "a.best.best", "a best", "a_best"]
    files = [file_name(name, which) for name in names for which in ("last", "best")]
    files += [f"{file}.before" for file in files]
    assert len(set(files)) == len(files)
