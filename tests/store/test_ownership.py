"""One owner at a time, among real processes, and a free folder when the owner is killed."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from dgm_jax.core import RunDirectoryError
from dgm_jax.store import RunDirectory

ROOT = pathlib.Path(__file__).parents[2]


def create(path, resume=False):
    return RunDirectory.create(
        path, "gan_ring", {"num_steps": 100}, resume, notify=lambda text: None
    )


def tree(path):
    """Every file below a folder with its bytes."""
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_the_same_process_cannot_take_it_twice(tmp_path):
    with create(tmp_path):
        with pytest.raises(RunDirectoryError, match=f"process {os.getpid()} on host"):
            create(tmp_path, resume=True)
    with create(tmp_path, resume=True) as run:
        assert run.resumed


CHILD = """
import sys
from dgm_jax.store.directory import RunDirectory
print("ready", flush=True)
sys.stdin.readline()
try:
    resume = sys.argv[2] == "resume"
    run = RunDirectory.create(sys.argv[1], "gan_ring", {"num_steps": 100}, resume=resume)
except ValueError as error:
    print("lost:", error, flush=True)
else:
    for step in range(3):
        run.append_row({"step": step})
    print("won", flush=True)
sys.stdin.readline()
"""


def start_child(path, mode="new"):
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), mode],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return child


def go(child):
    child.stdin.write("go\n")
    child.stdin.flush()


@pytest.mark.parametrize("question", ["exists", "is_dir"])
def test_a_folder_that_appears_between_two_questions_is_a_folder(monkeypatch, tmp_path, question):
    folder = tmp_path / "run"
    ask = getattr(pathlib.Path, question)

    def ask_and_then_another_start_creates_it(path, **arguments):
        answer = ask(path, **arguments)
        if path == folder:
            os.makedirs(folder, exist_ok=True)
        return answer

    monkeypatch.setattr(pathlib.Path, question, ask_and_then_another_start_creates_it)
    with create(folder) as run:
        assert not run.resumed


def test_of_many_processes_one_wins_and_a_kill_frees_the_folder(tmp_path):
    folder = tmp_path / "run"
    children = [start_child(folder) for _ in range(3)]
    try:
        assert [c.stdout.readline() for c in children] == ["ready\n"] * 3
        for child in children:
            go(child)
        answers = [c.stdout.readline() for c in children]
        winners = [c for c, a in zip(children, answers, strict=True) if a == "won\n"]
        assert len(winners) == 1
        losers = [a for a in answers if a != "won\n"]
        for answer in losers:
            assert f"is in use by process {winners[0].pid} on host" in answer
            assert " since 20" in answer
        held = tree(folder)
        with pytest.raises(RunDirectoryError, match=f"process {winners[0].pid} "):
            create(folder, resume=True)
        assert tree(folder) == held
        winners[0].send_signal(signal.SIGKILL)
        winners[0].wait()
        with create(folder, resume=True) as run:
            assert run.resumed and [row["step"] for row in run.read_rows()] == [0, 1, 2]
    finally:
        for child in children:
            child.kill()
            child.communicate()
