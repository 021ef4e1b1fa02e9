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
    assert "belongs to another run: " in said and "settings.seed: 7 there, 0 here" in said


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


# Checkpoints that were moved about.


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def link(checkpoints):
    (checkpoints / "30").symlink_to("20")


def copy(checkpoints):
    shutil.copytree(checkpoints / "20", checkpoints / "30")


def swap_steps(checkpoints):
    (checkpoints / "10").rename(checkpoints / "x")
    (checkpoints / "20").rename(checkpoints / "10")
    (checkpoints / "x").rename(checkpoints / "20")


@pytest.mark.parametrize("edit", [link, copy, swap_steps])
def test_a_checkpoint_under_another_step_is_refused(stopped, capfd, edit):
    checkpoints = stopped / "checkpoints" / "plain"
    edit(checkpoints)
    before = files(checkpoints)
    said = refuses(capfd, stopped)
    assert "under another name" in said
    assert files(checkpoints) == before


def test_arms_that_have_swapped_their_checkpoints(tmp_path, capfd):
    out = tmp_path / "run"
    assert run(out, *ARMS, experiment=stopping(signal.SIGTERM, 5)) == 143
    checkpoints = out / "checkpoints"
    (checkpoints / "half").rename(checkpoints / "x")
    (checkpoints / "plain").rename(checkpoints / "half")
    (checkpoints / "x").rename(checkpoints / "plain")
    assert "arms: ['half'] there, ['plain'] here" in refuses(capfd, out, *ARMS)


def test_checkpoints_of_an_equal_run_elsewhere(undisturbed, stopped, capfd):
    """The same settings and so the same arrays, but not what this folder saved."""
    shutil.rmtree(stopped / "checkpoints")
    shutil.copytree(undisturbed / "checkpoints", stopped / "checkpoints")
    said = refuses(capfd, stopped)
    assert "checkpoint 30" in said and "belongs to another run: run_id: " in said


@pytest.mark.parametrize("how", [shutil.copytree, shutil.move])
def test_a_folder_that_was_copied_or_moved_whole_is_sound(undisturbed, stopped, tmp_path, how):
    how(stopped, tmp_path / "elsewhere")
    assert run(tmp_path / "elsewhere", "--resume") == 0
    assert rows_of(tmp_path / "elsewhere") == rows_of(undisturbed)
    hashes = summary_of(tmp_path / "elsewhere")["final_params_sha256"]
    assert hashes == summary_of(undisturbed)["final_params_sha256"]


def test_without_the_newest_step_the_one_before_is_used(undisturbed, stopped):
    shutil.rmtree(stopped / "checkpoints" / "plain" / "20")
    assert run(stopped, "--resume") == 0
    assert rows_of(stopped) == rows_of(undisturbed)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_checkpoint_that_can_be_read(stopped, capfd):
    for path in (stopped / "checkpoints").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:7])
    said = refuses(capfd, stopped)
    assert "checkpoint 20 cannot be read" in said and "begin again in another folder" in said


def lose_all(out):
    shutil.rmtree(out / "checkpoints")


def lose_arm(out):
    shutil.rmtree(out / "checkpoints" / "plain")


def lose_steps(out):
    for step in ("10", "20"):
        shutil.rmtree(out / "checkpoints" / "plain" / step)


@pytest.mark.parametrize("edit", [lose_all, lose_arm, lose_steps])
def test_rows_without_checkpoints_are_refused(undisturbed, stopped, tmp_path, capfd, edit):
    """And with the checkpoints put back the run goes on."""
    shutil.copytree(stopped / "checkpoints", tmp_path / "kept")
    edit(stopped)
    said = refuses(capfd, stopped)
    assert "has rows of plain up to step 20, but no checkpoint of it" in said
    assert "begin again in another folder with --out" in said
    shutil.rmtree(stopped / "checkpoints")
    shutil.copytree(tmp_path / "kept", stopped / "checkpoints")
    assert run(stopped, "--resume") == 0
    assert rows_of(stopped) == rows_of(undisturbed)


def test_a_finished_arm_whose_checkpoints_are_lost(tmp_path, capfd):
    out = tmp_path / "run"
    assert run(out, *ARMS, experiment=stopping(signal.SIGTERM, 4)) == 143
    shutil.rmtree(out / "checkpoints" / "plain")
    assert "has rows of plain up to step 30" in refuses(capfd, out, *ARMS)


@pytest.mark.parametrize("flags", [(), ("--log_every", "50"), ARMS])
def test_a_run_killed_between_its_first_row_and_checkpoint_goes_on(tmp_path, monkeypatch, flags):
    """As a kill leaves it: rows of the first logged step, and no checkpoint of that arm."""
    assert run(tmp_path / "whole", *flags) == 0

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("dgm_jax.training.checkpoint.Checkpoints.save", killed)
        with pytest.raises(Killed):
            run(tmp_path / "a", *flags)
    first = 30 if "50" in flags else 10
    assert [row["step"] for row in rows_of(tmp_path / "a")] == [first]
    assert not list((tmp_path / "a" / "checkpoints" / "plain").glob("[0-9]*"))
    assert run(tmp_path / "a", *flags, "--resume") == 0
    assert rows_of(tmp_path / "a") == rows_of(tmp_path / "whole")
