"""What the tests of whole runs share."""

import dataclasses

import numpy as np
import pytest
import tiny_game
from equal_charts import drawn_once
from tiny_game import run

from dgm_jax.experiments import gan_ring
from dgm_jax.run import main

RING = "--method averaged --num_seeds 2 --num_steps 4 --log_every 2 --num_eval 400".split()


@pytest.fixture(scope="module", autouse=True)
def equal_charts():
    with drawn_once():
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of a run of the tiny game that nothing stopped."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    assert run(out) == 0
    return out


@pytest.fixture
def installed(tmp_path_factory, monkeypatch):
    """The tiny game as `dgm-jax list` has it; called with an experiment, that one in its place."""
    site = tmp_path_factory.mktemp("site")
    metadata = site / "tiny-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[dgm_jax.experiments]\ntiny = tiny_game:EXPERIMENT\n"
    )
    monkeypatch.syspath_prepend(str(site))
    return lambda experiment: monkeypatch.setattr(tiny_game, "EXPERIMENT", experiment)


@pytest.fixture(scope="session")
def ring(tmp_path_factory):
    """(folder, samples [2, 400, 2]) of a short run of `gan_ring`, as its last evaluation had
    them."""
    out, seen = tmp_path_factory.mktemp("ring") / "run", {}

    def plots(results, inputs):
        seen["samples"] = np.asarray(results[0].arrays["samples"])
        return {}

    experiment = dataclasses.replace(gan_ring.EXPERIMENT, plots=plots)
    flags = [*RING, "--num_devices", "1", "--progress", "quiet", "--out", str(out)]
    assert main(experiment, flags) == 0
    return out, seen["samples"]
