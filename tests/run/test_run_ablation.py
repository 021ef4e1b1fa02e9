"""An ablation: which grids are taken, what becomes of them, and what is refused with both sides
named."""

import dataclasses
import functools

import jax.numpy as jnp
import optax
import pytest

from dgm_jax import cli, parallel, training
from dgm_jax.core import Aux, ConfigError, Player, Task
from dgm_jax.run import Data, Experiment, RunConfig
from dgm_jax.run.ablation import parse_grid, shared_data
from dgm_jax.run.experiment import arms, groups, validate
from dgm_jax.run.launch import check, main

pytestmark = pytest.mark.optimized


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


def tiny_task(config, data):
    """One number on its way to that of the data."""

    def loss(params, state, batch, key):
        return config.rate * (params["x"] - batch) ** 2, Aux(state, {})

    return Task(
        init=lambda key: ({"x": jnp.zeros(())}, {}),
        draw=lambda arrays, data_key, index: arrays["x"],
        algorithm=functools.partial(
            training.alternating, {"x": Player(("x",), loss)}, {"x": optax.sgd(0.1)}
        ),
        evaluate=lambda train_state, arrays, key: {"x": train_state.params["x"]},
    )


EXPERIMENT = Experiment(
    "made_up", Settings, load, no_build, distribute=no_build, arm_field="method"
)


def test_values_have_the_types_of_the_settings():
    words = [
        "rate=1e-4,2",
        "width=4,8",
        "hidden=64,128",
        "biased=True,False",
        "method=a,b",
        "limit=3",
    ]
    assert parse_grid(EXPERIMENT, words) == {
        "rate": (1e-4, 2.0),
        "width": (4, 8),
        "hidden": (64, 128),
        "biased": (True, False),
        "method": ("a", "b"),
        "limit": (3.0,),
    }


@pytest.mark.parametrize(
    "cells, words",
    [
        (["rtae=1,2"], ["rtae", "rate"]),
        (["width=1.5"], ["width", "int", "1.5"]),
        (["biased=yes"], ["biased", "True or False", "yes"]),
        (["rate"], ["FIELD=VALUE", "'rate'"]),
        (["rate=1", "rate=2"], ["rate", "twice"]),
        *[
            ([f"{name}=1,2"], [name, "cannot be ablated"])
            for name in ("seed", "num_seeds", "num_steps", "log_every")
        ],
        *[
            ([f"{name}=a"], [name, "cannot be ablated"])
            for name in ("strategy", "devices", "out", "progress")
        ],
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


def test_what_python_must_know_takes_a_program_for_each_value():
    """Lists of numbers stay lists, and numbers named as static stay numbers."""
    grid = {"rate": (0.1, 0.2), "limit": (1.0, 2.0), "shares": (0.5, 0.25)}
    found = groups(arms(EXPERIMENT, Settings(method=("a",)), grid), grid, static=("limit",))
    assert [(len(group.arms), group.swept) for group in found] == [(2, ("rate",))] * 4
    assert [group.arms[0].config.shares for group in found] == [(0.5,), (0.25,), (0.5,), (0.25,)]
    assert [group.arms[0].config.limit for group in found] == [1.0, 1.0, 2.0, 2.0]


def test_only_settings_that_the_data_read_are_loaded_anew():
    loaded = []

    def counting(config):
        loaded.append(config.source)
        return load(config)

    experiment = dataclasses.replace(EXPERIMENT, load=counting)
    grid = {"rate": (0.1, 0.2, 0.3), "method": ("a", "b"), "limit": (1.0, 2.0)}
    assert float(shared_data(experiment, Settings(), grid).arrays["x"]) == 1.0
    assert loaded == ["near"]
    assert float(shared_data(experiment, Settings(), {"source": ("far",)}).arrays["x"]) == 2.0
    with pytest.raises(ConfigError, match="source=far changes the data"):
        shared_data(experiment, Settings(), {"source": ("near", "far")})


def test_several_data_sets_are_refused_before_any_is_loaded():
    @dataclasses.dataclass(frozen=True)
    class OnData(RunConfig):
        data: str = "digits"

    experiment = Experiment("on_data", OnData, no_build, no_build, distribute=no_build)
    with pytest.raises(
        ConfigError, match="data=digits,mnist_5k: all cells of a run share their data"
    ):
        validate(experiment, OnData(), {"data": ("digits", "mnist_5k")})


@pytest.mark.parametrize("words", [["run"], ["check"]])
def test_what_cannot_be_built_is_refused_before_anything_is_trained(tmp_path, capsys, words):
    """The second arm asks Python for a number that the grid has made a tracer."""
    built = []

    def build(config, data):
        built.append(config.method)
        if config.method == ("b",):
            float(config.rate)
        return tiny_task(config, data)

    experiment = dataclasses.replace(EXPERIMENT, build=build, distribute=parallel.distribute)
    flags = ["--num_seeds", "1", "--num_steps", "2", "--log_every", "1", "--progress", "quiet"]
    grid = {"rate": (0.1, 0.2)}
    if words == ["check"]:
        assert check(experiment, flags, grid) == 2
    else:
        assert main(experiment, [*flags, "--out", str(tmp_path / "run")], grid) == 2
        assert not (tmp_path / "run" / "metrics.jsonl").exists()
    assert "made_up: rate decides what is compiled" in capsys.readouterr().err and ("a",) in built
    static = dataclasses.replace(experiment, static=("rate",))
    assert check(static, flags, grid) == 0


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
        (["gan_ring", "--grid"], "--grid needs FIELD=VALUE"),
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
