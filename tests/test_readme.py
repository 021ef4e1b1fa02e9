"""The README's code runs, its commands exist, and its picture is there; the tables that it leads to
name what exists."""

import importlib
import pathlib
import re
import shlex
import struct

import numpy as np
import pytest

from dgm_jax import cli
from dgm_jax.run import catalogue

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
INDEX = (ROOT / "docs" / "concepts.md").read_text("utf-8").split("## Index")[1].split("\n## ")[0]
NAMES = re.findall(r"`([a-z_0-9]+(?:\.[A-Za-z_0-9]+)+)`", INDEX)
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
PAGE = (ROOT / "docs" / "experiments.md").read_text("utf-8")
EXPERIMENTS = re.findall(r"`([a-z_]+)`", PAGE.split("| experiment |")[1].split("\n## ")[0])


@pytest.mark.parametrize("name", NAMES)
def test_every_row_of_the_index_resolves(name):
    room, *path = name.split(".")
    found = importlib.import_module(f"dgm_jax.{room}")
    for part in path:
        found = getattr(found, part)
    assert found.__doc__ or isinstance(found, dict)


def test_the_index_was_found():
    assert len(NAMES) > 30 and "objectives.gan.value" in NAMES


@pytest.mark.parametrize("index", range(len(BLOCKS)))
def test_every_code_block_runs_alone(index):
    """As a reader pastes it: nothing of the blocks before it is there."""
    scope = {"__name__": "__main__"}
    exec(compile(BLOCKS[index], "README.md", "exec"), scope)
    check = CHECKS[index]
    check(scope)


def check_gan(scope):
    """The seeds' samples lie about the mean of the data; untrained ones lie 2.8 from it."""
    real, fake = scope["x"], scope["result"].evaluation["x"]
    assert fake.shape == (4, 500, 2)
    np.testing.assert_allclose(fake.mean((0, 1)), real.mean(0), atol=0.5)


def check_function(scope):
    assert scope["objectives"].gan.value(scope["real_logits"], scope["fake_logits"]) < 0


CHECKS = (check_gan, check_function)


def test_every_code_block_is_checked():
    assert len(BLOCKS) == len(CHECKS)


def test_the_commands_of_the_readme_are_understood(capfd, monkeypatch):
    """Their settings, and their data where they are shipped, by `check`, which trains nothing."""
    monkeypatch.chdir(ROOT)
    lines = re.findall(r"^    dgm-jax (run|ablate|check) ([^#\n]+)", README, re.MULTILINE)
    assert {command for command, _ in lines} == {"run", "ablate", "check"}
    for _, words in lines:
        words = ["check", *shlex.split(words), "--no-compile"]
        assert cli.main(words) == 0, capfd.readouterr().err


def test_the_targets_of_the_readme_exist():
    targets = set(re.findall(r"^    make ([a-z-]+)", README, re.MULTILINE))
    rules = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert {"demo", "test", "study"} <= targets <= set(rules)


def test_the_picture_is_a_small_picture():
    (place,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    content = (ROOT / place).read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    assert content.startswith(b"\x89PNG") and len(content) < 100_000 and width > height > 100


def test_the_table_of_experiments_is_complete():
    own = {n for n, e in catalogue.experiments().items() if e.value.startswith("dgm_jax.")}
    assert set(EXPERIMENTS) == own
