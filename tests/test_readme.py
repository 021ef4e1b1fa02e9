"""The README's index resolves, its commands exist, and its code runs."""

import importlib
import math
import pathlib
import re
import shlex

import pytest

from dgm_jax import cli
from dgm_jax.run import catalogue

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text("utf-8")
INDEX = README.split("## Index")[1].split("| experiment |")[0]
NAMES = re.findall(r"`([a-z_0-9]+(?:\.[A-Za-z_0-9]+)+)`", INDEX)
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
EXPERIMENTS = re.findall(r"`([a-z_]+)`", README.split("| experiment |")[1].split("## Names")[0])


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


def check_function(scope):
    assert scope["objectives"].gan.value(scope["real_logits"], scope["fake_logits"]) < 0


def check_game(scope):
    result = scope["result"]
    assert result.metrics["x.loss"].shape == (8, 2) and result.evaluation["distance"].shape == (8,)


def check_vae(scope):
    """Better than fair coins for 64 pixels, and no better than a probability."""
    log_prob = scope["likelihoods"]["log_prob"]
    assert log_prob.shape == (2,) and (-64 * math.log(2) < log_prob).all() and (log_prob < 0).all()


CHECKS = (check_function, check_game, check_vae)


def test_every_code_block_is_checked():
    assert len(BLOCKS) == len(CHECKS)


def test_the_commands_of_the_first_minutes_are_understood(capfd):
    """Their settings, and their data where they are shipped, by `check`, which trains nothing."""
    lines = re.findall(r"^    dgm-jax (run|ablate|check) ([^#\n]+)", README, re.MULTILINE)
    assert {command for command, _ in lines} == {"run", "ablate", "check"}
    for _, words in lines:
        words = ["check", *shlex.split(words), "--no-compile"]
        assert cli.main(words) == 0, capfd.readouterr().err


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_of_the_readme_is_installed(name):
    assert catalogue.experiments()[name].load().name == name
