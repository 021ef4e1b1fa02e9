"""Runs of a tiny game that find foreign checkpoints, and arms with odd names."""

import shutil
import signal

import numpy as np
import pytest
from matplotlib.figure import Figure
from safetensors.numpy import load_file
from tiny_game import Tiny, build, rows_of, run, stopping, summary_of, tiny

ARMS = ("--kind", "plain", "half")


@pytest.fixture
def stopped(tmp_path):
    """A run of seed 0, stopped by SIGTERM after its second row; it has checkpoints 10 and 20."""
    out = tmp_path / "stopped"
    assert run(out, experiment=stopping(signal.SIGTERM, 2)) == 143
    assert {path.name for path in (out / "checkpoints" / "plain").iterdir()} == {"10", "20"}
    return out


def refuses(capfd, out, *flags):
    """What `--resume` says when it ends with exit code 2, having changed no row."""
    before = rows_of(out)
    capfd.readouterr()
    assert run(out, *flags, "--resume") == 2
    said = capfd.readouterr().err
    assert "Traceback" not in said and rows_of(out) == before
    return said


def test_a_renamed_checkpoint(undisturbed, stopped, capfd):
    """Step 20 under the name of the last step would end the run ten steps too early."""
    checkpoints = stopped / "checkpoints" / "plain"
    (checkpoints / "20").rename(checkpoints / "30")
    said = refuses(capfd, stopped)
    assert "checkpoint 30" in said and "is checkpoint 20 under another name" in said
    (checkpoints / "30").rename(checkpoints / "20")
    assert run(stopped, "--resume") == 0
    assert (
        summary_of(stopped)["final_params_sha256"]
        == (summary_of(undisturbed)["final_params_sha256"])
    )


def test_checkpoints_of_another_seed(stopped, tmp_path, capfd):
    assert run(tmp_path / "seven", "--seed", "7") == 0
    shutil.rmtree(stopped / "checkpoints")
    shutil.copytree(tmp_path / "seven" / "checkpoints", stopped / "checkpoints")
    said = refuses(capfd, stopped)
    assert "belongs to another run: settings.seed: 7 there, 0 here" in said


def test_checkpoints_of_another_arm(tmp_path, capfd):
    """The second of two arms finds those of the first, which has all its steps."""
    out = tmp_path / "run"
    assert run(out, *ARMS, experiment=stopping(signal.SIGTERM, 4)) == 143
    checkpoints = out / "checkpoints"
    shutil.rmtree(checkpoints / "half")
    shutil.copytree(checkpoints / "plain", checkpoints / "half")
    said = refuses(capfd, out, *ARMS)
    assert "arms: ['plain'] there, ['half'] here" in said and str(checkpoints / "half") in said


def test_a_folder_that_was_moved_goes_on(undisturbed, stopped, tmp_path):
    """The identity is the run's, not the folder's."""
    stopped.rename(tmp_path / "elsewhere")
    assert run(tmp_path / "elsewhere", "--resume", "--progress", "json") == 0
    assert rows_of(tmp_path / "elsewhere") == rows_of(undisturbed)


def test_arms_whose_names_differ_in_an_odd_character_have_files_of_their_own(tmp_path):
    """`a/b` trains at half the rate of `a_b`: each keeps its own files."""

    def either(config, hyper, inputs):
        kind = "half" if "/" in config.kind[0] else "plain"
        return build(Tiny(kind=(kind,)), hyper, inputs)

    def snapshots(result, inputs, step):
        return {"picture": (Figure((1, 1)), f"{result.name} at {step}")}

    experiment = tiny(build=either, validate=lambda config: None, snapshots=snapshots)
    assert run(tmp_path, "--kind", "a/b", "a_b", experiment=experiment) == 0
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    assert (tmp_path / "checkpoints" / "a_b").is_dir()
    assert len(list((tmp_path / "figures").glob("*.png"))) == 6
    files = sorted((tmp_path / "models").glob("*.safetensors"))
    assert len(files) == 2 and tmp_path / "models" / "a_b.safetensors" in files
    metrics = summary_of(tmp_path)["metrics"]
    for file in files:
        arm = "a_b" if file.stem == "a_b" else "a/b"
        w = load_file(file)["params/p/w"]
        np.testing.assert_allclose(w, metrics[f"{arm}/w"]["per_seed"], rtol=1e-6)
