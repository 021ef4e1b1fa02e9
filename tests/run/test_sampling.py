"""`dgm-jax sample`: pictures, arrays, and one sentence for what cannot be drawn."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from dgm_jax import cli
from dgm_jax.core import ConfigError
from dgm_jax.report.samples import samples_figure
from dgm_jax.run import load


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_points_become_a_picture_in_the_current_folder(ring, here, capsys):
    folder, _ = ring
    assert cli.main(["sample", str(folder)]) == 0
    with Image.open(here / "samples.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 10
    told = capsys.readouterr().out
    assert (
        told
        == "samples.png: 2500 samples of each of 2 seeds of gan_ring, averaged, after 4 steps\n"
    )


def test_arrays_are_what_the_model_gives(ring, here):
    folder, _ = ring
    flags = ["--num", "7", "--key", "3"]
    assert cli.main(["sample", str(folder), "--out", "all.npz", *flags]) == 0
    assert cli.main(["sample", str(folder), "--out", "one.npz", "--seed", "1", *flags]) == 0
    with np.load("all.npz", allow_pickle=False) as held, np.load("one.npz") as one:
        assert held["samples"].shape == (2, 7, 2) and held["seeds"].tolist() == [0, 1]
        assert one["samples"].shape == (1, 7, 2) and one["seeds"].tolist() == [1]
        found = load(folder, seed=1)
        key = jax.random.fold_in(jax.random.key(3), 1)
        truth = found.model.sample(found.params, found.state, key, 7)
        np.testing.assert_allclose(held["samples"][1], truth, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(one["samples"][0], truth, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--arm", "vanila"], "unknown arm 'vanila'; known: averaged"),
        (["--seed", "2"], "seed must be 0 to 1, got 2"),
        (["--num", "0"], "num must be at least 1 and less than 2**31, got 0"),
        (["--key", "-1"], "key must be at least 0, got -1"),
        (["--text", "a bag"], "gan_ring makes no samples from texts: leave --text out"),
        (["--out", "samples.pdf"], "out must end in .png or .npz, got 'samples.pdf'"),
        (["--out", "nowhere/samples.png"], "there is no folder nowhere"),
        (["--which", "best"], "has no best model of 'averaged'"),
    ],
)
def test_what_cannot_be_drawn_is_told_in_one_sentence(ring, here, capsys, flags, message):
    folder, _ = ring
    assert cli.main(["sample", str(folder), *flags]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("error: ") and told.err.count("\n") == 1
    assert message in told.err
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("name", ["missing", "empty", "file"])
def test_no_run_there(here, capsys, name):
    (here / "empty").mkdir()
    (here / "file").write_text("no run")
    assert cli.main(["sample", name]) == 2
    assert f"error: {name} holds no run" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["folder", "--nmu", "3"], ["folder", "--num", "many"]])
def test_wrong_flags_are_explained_without_jax(words):
    program = (
        "import sys\nfrom dgm_jax import cli\ntry:\n    code = cli.main(sys.argv[1:])\n"
        "except SystemExit as stop:\n    code = stop.code\n"
        "assert 'jax' not in sys.modules\nsys.exit(code)"
    )
    for arguments, code in ((words, 2), (["--help"], 0)):
        command = [sys.executable, "-c", program, "sample", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
    assert "--text" in done.stdout and "newest checkpoint" in " ".join(done.stdout.split())


def pixels_of(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


@pytest.mark.parametrize(("scaling", "low"), [("symmetric", -1.0), ("unit", 0.0)])
def test_pixels_have_the_range_of_the_data(scaling, low):
    """Half of each image at the lower end of the range is black, the other half white."""
    images = np.full((2, 3, 8, 8, 1), 1.0)
    images[:, :, :4] = low
    found = pixels_of(samples_figure(images, {"scaling": scaling}))
    dark, light = ((found == value).all(-1).mean() for value in (0, 255))
    assert 0.4 < dark <= 0.5 and 0.4 < light


def test_rows_do_not_mix_seeds():
    """Three seeds of four images each: black, grey and white rows."""
    images = np.broadcast_to(np.array([0.0, 0.5, 1.0])[:, None, None, None, None], (3, 4, 8, 8, 1))
    found = pixels_of(samples_figure(images, {"scaling": "unit"}))
    height = len(found) // 3
    for row, value in enumerate((0, 128, 255)):
        inside = found[row * height + height // 4 : row * height + height // 2]
        assert (np.abs(inside.astype(int) - value) <= 1).all(-1).mean() > 0.8


def test_what_is_no_picture_is_refused():
    with pytest.raises(ConfigError, match=r"samples of shape \(3,\) cannot be drawn: give --out"):
        samples_figure(np.zeros((1, 5, 3)), {})
