"""What the tests of whole runs share."""

import pytest
from tiny_game import run


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of a run of the tiny game that nothing stopped."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    assert run(out) == 0
    return out
