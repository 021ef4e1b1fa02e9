"""An ablation: which grids are taken, what becomes of them, and what is refused with both sides named."""

import dataclasses

import jax.numpy as jnp
import pytest

from dgm_jax import cli
from dgm_jax.core import ConfigError
from dgm_jax.run import Data, Experiment, RunConfig
from dgm_jax.run.experiment import arms, groups, parse_grid, validate
from dgm_jax.run.launch import main


@dataclasses.dataclass(frozen=True)
class Settings(RunConfig):
    """Settings of every kind."""

    method: tuple[str, ...] = ("a", "b")
    rate: float = 0.1
    width: int = 8
    hidden: tuple[int, ...] = (16, 16)
    shares: tuple[float, ...] = (0.5,)
    biased: bool = False
    source: str = "near"
    limit: float | None = None


def load(config):
    """Data that depend on one setting."""
    number = {"near": 1.0, "far": 2.0}[config.source]
    return Data({"x": jnp.float32(number)}, {"name": "number", "identity": "number"})


def no_build(config, data):
    raise AssertionError("nothing may be built in these tests")


EXPERIMENT = Experiment("made_up", Settings, load, no_build, distribute=no_build, arm_field="method")


def test_values_have_the_types_of_the_settings():
    words = ["rate=1e-4,2", "width=4,8", "hidden=64,128", "biased=True,False", "method=a,b", "limit=3"]
    assert parse_grid(EXPERIMENT, words) == {
        "rate": (1e-4, 2.0), "width": (4, 8), "hidden": (64, 128), "biased": (True, False), "method": ("a", "b"),
        "limit": (3.0,),
    }  # fmt: skip


@pytest.mark.parametrize(
    "cells, words",
    [
        (["rtae=1,2"], ["rtae", "rate"]),
        (["width=1.5"], ["width", "int", "1.5"]),
        (["biased=yes"], ["biased", "True or False", "yes"]),
        (["rate"], ["FIELD=VALUE", "'rate'"]),
        (["rate=1", "rate=2"], ["rate", "twice"]),
        *[([f"{name}=1,2"], [name, "cannot be ablated"]) for name in ("seed", "num_seeds", "num_steps", "log_every")],
        *[([f"{name}=a"], [name, "cannot be ablated"]) for name in ("strategy", "devices", "out", "progress")],
    ],
)
def test_grids_that_no_run_could_use(cells, words):
    with pytest.raises(ConfigError) as error:
        parse_grid(EXPERIMENT, cells)
    assert all(word in str(error.value) for word in words), error.value


def test_cells_are_all_combinations_and_a_list_gets_one_item():
    cells = arms(EXPERIMENT, Settings(), {"hidden": (64, 128), "width": (4,)})
    assert [(c.name, c.config.method, c.config.hidden, c.config.width) for c in cells] == [
        ("a, hidden=64, width=4", ("a",), (64,), 4),
        ("a, hidden=128, width=4", ("a",), (128,), 4),
        ("b, hidden=64, width=4", ("b",), (64,), 4),
        ("b, hidden=128, width=4", ("b",), (128,), 4),
    ]


def test_numbers_share_a_program_and_shapes_do_not():
    grid = {"rate": (0.1, 0.2, 0.3), "width": (4, 8)}
    found = groups(arms(EXPERIMENT, Settings(method=("a",)), grid), grid)
    assert [(len(group.arms), group.swept) for group in found] == [(3, ("rate",)), (3, ("rate",))]


@pytest.mark.parametrize("grid", [{"rate": (0.1, float("inf"))}, {"shares": (0.1, float("nan"))}])
def test_every_cell_must_be_finite(grid):
    with pytest.raises(ConfigError, match="must be finite"):
        validate(EXPERIMENT, Settings(), grid)


def test_a_number_within_a_list_must_be_finite():
    with pytest.raises(ConfigError, match="shares must be finite, got inf"):
        validate(EXPERIMENT, Settings(shares=(0.1, float("inf"))))


@pytest.mark.parametrize("seed", [-1, 2**32, 2**63])
def test_a_seed_has_32_bits(seed):
    """Seeds 0 and 2**32 make the same key, so the second would not be another run."""
    with pytest.raises(ConfigError, match=f"less than 2\\*\\*32, got {seed}"):
        validate(EXPERIMENT, Settings(seed=seed))


def test_a_setting_that_changes_the_data_is_refused(tmp_path, capsys):
    flags = ["--out", str(tmp_path / "run"), "--progress", "quiet"]
    assert main(EXPERIMENT, flags, {"source": ("near", "far")}) == 2
    said = capsys.readouterr().err
    assert "source=far" in said and "changes the data" in said
    assert not (tmp_path / "run" / "config.json").exists()  # so the folder can be used again


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["gan_ring"], "needs --grid"),
        (["gan_ring", "--grid"], "needs --grid"),
        (["gan_ring", "--grid", "num_steps=1,2"], "cannot be ablated"),
        (["gan_ring", "--grid", "learning_rate=1", "--grid", "batch_size=2"], "once"),
    ],
)
def test_the_command_line_says_what_is_wrong(capsys, arguments, words):
    assert cli.main(["ablate", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_help_lists_the_settings(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["ablate", "gan_ring", "--help"])
    assert stop.value.code == 0 and "--learning-rate" in capsys.readouterr().out.replace("_", "-")
