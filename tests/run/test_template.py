"""The template of an experiment in one file: checked, ablated, loaded as a user would."""

import json
import pathlib

import jax
import numpy as np
import pytest

from dgm_jax import cli
from dgm_jax.run import catalogue, load

TEMPLATE = str(pathlib.Path(__file__).parents[2] / "docs" / "own_experiment.py")
SMALL = "--num_seeds 2 --num_steps 4 --log_every 2 --width 4 --num_devices 1".split()


def test_the_template_is_ablated_and_loaded(tmp_path, capfd):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(50, 3)))
    flags = [*SMALL, "--file", str(tmp_path / "x.npy"), "--progress", "quiet"]
    grid = ["--grid", "learning_rate=log:1e-3..1e-1:2", "--out", str(tmp_path / "r")]
    assert cli.main(["ablate", TEMPLATE, *flags, *grid]) == 0, capfd.readouterr().err
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert summary["arms"] == ["learning_rate=0.001", "learning_rate=0.1"]
    assert "sliced_wasserstein" in capfd.readouterr().out
    experiment = catalogue.load_own(TEMPLATE)
    trained = load(tmp_path / "r", "learning_rate=0.1", 1, experiment=experiment)
    key = jax.random.key(0)
    assert trained.model.sample(trained.params, trained.state, key, 5).shape == (5, 3)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--width", "0"], "width must be at least 1"),
        (["--learning_rate", "0"], "learning_rate must be"),
    ],
)
def test_the_template_refuses_what_no_run_could_use(flags, words, capfd):
    assert cli.main(["check", TEMPLATE, *flags]) == 2
    assert words in capfd.readouterr().err
