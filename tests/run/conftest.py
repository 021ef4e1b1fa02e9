"""What the tests of whole runs share."""

import pytest
import tiny_game
from tiny_game import run


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
