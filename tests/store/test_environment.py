"""What is written down about the surroundings, and what must not be."""

import json
import os
import platform
import subprocess

import jax
import pytest

import dgm_jax
from dgm_jax.store import environment


def git(folder, *arguments):
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
    )


def test_versions_and_devices_are_those_of_this_process():
    found = environment.collect_environment()
    json.dumps(found, allow_nan=False)
    assert found["versions"]["jax"] == jax.__version__
    assert found["versions"]["dgm_jax"] == dgm_jax.__version__
    assert found["devices"]["backend"] == jax.default_backend()
    assert sum(found["devices"]["kinds"].values()) == len(jax.devices())
    assert found["date"].endswith("+00:00")


def test_environment_variables_stay_out(monkeypatch):
    monkeypatch.setenv("PLANTED_SECRET", "hunter2-canary")
    text = json.dumps(environment.collect_environment())
    assert "hunter2-canary" not in text
    assert os.uname().nodename not in environment.collect_environment()["command"]


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (
            ["/opt/x/bin/python3", "-m", "experiments.gan_ring", "--num_seeds", "20"],
            "python3 -m experiments.gan_ring --num_seeds 20",
        ),
        (
            ["/opt/x/bin/python3", "/opt/x/bin/dgm-jax", "run", "gan_ring", "--out", "a b"],
            "dgm-jax run gan_ring --out 'a b'",
        ),
        (
            ["python", "--api-key=abc", "--tracker_token", "def", "--password", "--num_seeds", "3"],
            "python '--api-key=***' --tracker_token '***' --password --num_seeds 3",
        ),
        ([], ""),
    ],
)
def test_command_line(arguments, expected):
    assert environment.command_line(arguments) == expected


def test_git_state_of_a_checkout(tmp_path):
    assert environment.git_state(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert environment.git_state(tmp_path) == {"commit": None, "dirty": False}
    (tmp_path / "a.txt").write_text("1")
    git(tmp_path, "add", "a.txt")
    git(tmp_path, "commit", "-qm", "one")
    state = environment.git_state(tmp_path)
    assert len(state["commit"]) == 40 and state["dirty"] is False
    (tmp_path / "a.txt").write_text("2")
    assert environment.git_state(tmp_path) == {**state, "dirty": True}
    (tmp_path / "inner").mkdir()
    assert environment.git_state(tmp_path / "inner") is None


def test_no_git_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.git_state() is None


@pytest.mark.parametrize(
    "listing, named",
    [
        (
            "vendor_id\t: X\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: An EPYC \n",
            "An EPYC, family 25",
        ),
        ("cpu family\t: 6\nmodel name\t: A\n\ncpu family\t: 6\nmodel name\t: A\n", "A, family 6"),
        ("model name\t: Arm\ncpu family\t:\n", "Arm"),
        ("processor\t: 0\nFeatures\t: fp asimd\n", None),
        (None, None),
    ],
)
def test_a_processor_is_named_by_model_and_family(listing, named, tmp_path):
    """As Linux lists them on x86, and where it lists less or nothing."""
    path = tmp_path / "cpuinfo"
    if listing is not None:
        path.write_text(listing)
    assert environment._processor(path) == (named or platform.processor() or platform.machine())
