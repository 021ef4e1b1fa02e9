"""One run in two processes: one of them is killed, and the run goes on with another number."""

import json

import pytest
from process_group import Group
from tiny_game import rows_of, run, summary_of

FLAGS = "--num_steps 30 --log_every 10 --num_seeds 4 --strategy map --progress lines".split()


pytestmark = pytest.mark.optimized


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of the same run in one process, undisturbed."""
    out = tmp_path_factory.mktemp("alone") / "run"
    assert run(out, *FLAGS, "--num_seeds", "4", "--progress", "quiet") == 0
    return out


def test_killed_process_ends_the_run_which_one_process_finishes(alone, tmp_path):
    out = tmp_path / "run"
    (code, output, errors), (killed, *quiet) = Group(
        2, "run", "--out", out, *FLAGS, victim=1
    ).ended()
    assert code == 7 and "another process of the run has ended" in errors.splitlines()[-1]
    assert not output and "Gloo" not in errors.splitlines()[0]
    assert killed == 7 and quiet[0] == "" and "ended by SIGKILL" in quiet[1]
    assert [row["step"] for row in rows_of(out)] in ([10], [10, 20])
    assert run(out, *FLAGS, "--progress", "quiet", "--resume") == 0
    assert_same(out, alone)


def assert_same(out, alone):
    """The same models and rows."""
    for name in ("final_params_sha256", "final_model_sha256", "failed_seeds", "metrics"):
        assert json.dumps(summary_of(out)[name]) == json.dumps(summary_of(alone)[name]), name
    assert rows_of(out) == rows_of(alone)
