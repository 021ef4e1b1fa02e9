"""The README's index resolves, its commands exist, and its code runs."""

import importlib
import math
import pathlib
import re

import pytest

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


def test_code_blocks_run_in_order():
    scope = {}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), scope)
    assert scope["metrics"]["x_loss"].shape == (8,)
    # Better than fair coins for 64 pixels, and no better than a probability.
    log_prob = scope["likelihoods"]["log_prob"]
    assert log_prob.shape == (2,) and (-64 * math.log(2) < log_prob).all() and (log_prob < 0).all()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_of_the_readme_is_installed(name):
    from dgm_jax.cli import experiments

    assert experiments()[name].load().name == name
