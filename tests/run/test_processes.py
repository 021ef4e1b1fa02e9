"""One run in two processes, of which one is killed; it goes on in one process, and in two."""

import json
import shutil

import pytest
from process_group import Group
from tiny_game import rows_of, run, summary_of

# 3 seeds in 4 places
FLAGS = "--num_steps 30 --log_every 10 --num_seeds 3 --strategy map --keep_best error".split()
FLAGS += ["--progress", "lines"]


pytestmark = pytest.mark.optimized


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of the same run in one process, undisturbed."""
    out = tmp_path_factory.mktemp("alone") / "run"
    assert run(out, *FLAGS, "--progress", "quiet") == 0
    return out


def test_killed_process_ends_the_run_which_one_and_two_processes_finish(alone, tmp_path):
    out = tmp_path / "run"
    (code, output, errors), (killed, *quiet) = Group(
        2, "run", "--out", out, *FLAGS, victim=1
    ).ended()
    assert code == 7 and "another process of the run has ended" in errors.splitlines()[-1]
    assert not output and "Gloo" not in errors.splitlines()[0]
    assert killed == 7 and quiet[0] == "" and "ended by SIGKILL" in quiet[1]
    assert [row["step"] for row in rows_of(out)] in ([10], [10, 20])
    copy = shutil.copytree(out, tmp_path / "copy")
    assert run(out, *FLAGS, "--progress", "quiet", "--resume") == 0
    assert_same(out, alone)
    ended = Group(2, "run", "--out", copy, *FLAGS, "--resume").ended()
    assert [code for code, *_ in ended] == [0, 0], ended
    assert_same(copy, alone)


def assert_same(out, alone):
    """The same models and rows."""
    for name in ("final_params_sha256", "final_model_sha256", "failed_seeds", "metrics"):
        assert json.dumps(summary_of(out)[name]) == json.dumps(summary_of(alone)[name]), name
    assert rows_of(out) == rows_of(alone)
    best = "models/plain.best.safetensors"
    assert (out / best).read_bytes() == (alone / best).read_bytes()
