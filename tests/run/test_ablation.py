"""An ablation: which grids are taken, what becomes of them, and what is refused with both sides
named."""

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
import optax
import pytest

from dgm_jax import cli, training
from dgm_jax.core import Aux, ConfigError, Player, Task, require
from dgm_jax.run import Experiment, Inputs, StudyConfig, check, main
from dgm_jax.run.ablation import shared_inputs, variants
from dgm_jax.run.cells import arms, groups, parse_grid, validate

pytestmark = pytest.mark.optimized


@dataclasses.dataclass(frozen=True)
class Settings(StudyConfig):
    """Settings of every kind."""

    method: tuple[str, ...] = ("a", "b")
    rate: float = 0.1
    width: int = 8
    hidden: tuple[int, ...] = (16, 16)
    shares: tuple[float, ...] = (0.5,)
    biased: bool = False
    source: Literal["near", "far"] = "near"
    limit: float | None = None


def load(settings, needed):
    """Data that depend on one setting."""
    number = {"near": 1.0, "far": 2.0}[settings.source]
    return Inputs({"x": jnp.float32(number)}, {"name": "number", "identity": "number"})


def no_build(config, hyper, inputs):
    raise AssertionError("nothing may be built in these tests")


def tiny_task(config, hyper, inputs):
    """One number on its way to that of the data."""

    def loss(params, state, batch, key):
        return hyper["rate"] * (params["x"] - batch) ** 2, Aux(state, {})

    return Task(
        init=lambda key: ({"x": jnp.zeros(())}, {}),
        draw=lambda arrays, data_key, index: arrays["x"],
        algorithm=functools.partial(
            training.alternating, {"x": Player(("x",), loss)}, {"x": optax.sgd(0.1)}
        ),
        evaluate=lambda train_state, arrays, key: {"x": train_state.params["x"]},
    )


EXPERIMENT = Experiment(
    "made_up",
    Settings,
    sweepable=("rate",),
    data_settings=("source",),
    arm_field="method",
    load=load,
    build=no_build,
)
SMALL = ["--num_seeds", "2", "--num_steps", "2", "--log_every", "1", "--num_devices", "1"]


def test_values_have_the_types_of_the_settings():
    words = [
        "rate=1e-4,2",
        "width=4,8",
        "hidden=64,128",
        "biased=True,False",
        "method=a,b",
        "limit=3,log:10..1000:3",
    ]
    assert parse_grid(EXPERIMENT, words) == {
        "rate": (1e-4, 2.0),
        "width": (4, 8),
        "hidden": (64, 128),
        "biased": (True, False),
        "method": ("a", "b"),
        "limit": (3.0, 10.0, 100.0, 1000.0),
    }


@pytest.mark.parametrize(
    "cells, words",
    [
        (["rtae=1,2"], ["rtae", "did you mean 'rate'", "has: method, rate, width, hidden, shares"]),
        (["xyz=1"], ["no setting 'xyz'; it has: method, rate"]),
        (["rate=log:0..1:3"], ["rate=log:0..1:3", "above 0"]),
        (["source=log:0..1:3"], ["source", "log:0..1:3"]),
        (["width=1.5"], ["width", "int", "1.5"]),
        (["biased=yes"], ["biased", "True or False", "yes"]),
        (["source=naer"], ["source", "'naer'", "did you mean 'near'"]),
        (["rate"], ["FIELD=VALUE", "'rate'"]),
        (["rate=1", "rate=2"], ["rate", "twice"]),
        *[
            ([f"{name}=1,2"], [name, "cannot be ablated"])
            for name in ("seed", "num_seeds", "num_steps", "log_every")
        ],
        *[
            ([f"{name}=a"], [name, "cannot be ablated"])
            for name in ("strategy", "devices", "num_devices", "out", "progress")
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
    found = groups(EXPERIMENT, arms(EXPERIMENT, Settings(method=("a",)), grid))
    assert [(len(group.arms), group.swept) for group in found] == [(3, ("rate",)), (3, ("rate",))]


def test_a_number_that_is_not_sweepable_takes_a_program_for_each_value():
    grid = {"rate": (0.1, 0.2), "limit": (1.0, 2.0), "shares": (0.5, 0.25)}
    found = groups(EXPERIMENT, arms(EXPERIMENT, Settings(method=("a",)), grid))
    assert [(len(group.arms), group.swept) for group in found] == [(2, ("rate",))] * 4
    assert [group.arms[0].config.shares for group in found] == [(0.5,), (0.25,), (0.5,), (0.25,)]
    assert [group.arms[0].config.limit for group in found] == [1.0, 1.0, 2.0, 2.0]


def inputs_of(experiment, grid):
    """What a run over the grid sees."""
    found = variants(experiment, Settings(), grid)
    return shared_inputs(experiment, found, [()] * len(found))


def test_only_settings_of_the_data_are_loaded_anew():
    loaded = []

    def counting(settings, needed):
        loaded.append(settings.source)
        return load(settings, needed)

    experiment = dataclasses.replace(EXPERIMENT, load=counting)
    grid = {"rate": (0.1, 0.2, 0.3), "method": ("a", "b"), "limit": (1.0, 2.0)}
    assert float(inputs_of(experiment, grid).arrays["x"]) == 1.0
    assert loaded == ["near"]
    assert float(inputs_of(experiment, {"source": ("far",)}).arrays["x"]) == 2.0
    with pytest.raises(ConfigError, match="source=far changes the data"):
        inputs_of(experiment, {"source": ("near", "far")})


def test_a_setting_that_changes_nothing_of_the_data_may_be_swept():
    experiment = dataclasses.replace(EXPERIMENT, data_settings=("source", "width"))
    assert float(inputs_of(experiment, {"width": (4, 8)}).arrays["x"]) == 1.0


def test_load_sees_the_settings_of_the_data_and_no_others():
    experiment = dataclasses.replace(EXPERIMENT, data_settings=("width",))
    with pytest.raises(AttributeError, match="load of made_up reads source.*data_settings"):
        inputs_of(experiment, {})


def test_build_takes_sweepable_numbers_from_hyper_only():
    config, hyper = EXPERIMENT.build_view(Settings(rate=0.3))
    assert hyper == {"rate": 0.3} and config.width == 8
    with pytest.raises(AttributeError, match=r"rate of made_up is sweepable: .*hyper\['rate'\]"):
        config.rate  # noqa: B018
    with pytest.raises(AttributeError, match="no setting 'widht'"):
        config.widht  # noqa: B018
    with pytest.raises(AttributeError, match="width cannot be set"):
        config.width = 9


@pytest.mark.parametrize(
    "change, words",
    [
        ({"sweepable": ("rtae",)}, "sweepable of made_up: Settings has no setting 'rtae'"),
        ({"sweepable": ("rate", "rate")}, "sweepable of made_up has a name twice: 'rate'"),
        (
            {"read_where": {"rate": {"width": ()}}},
            "read_where of made_up: rate has no pattern for 'width'",
        ),
        ({"data_settings": ("data",)}, "data_settings of made_up: Settings has no setting 'data'"),
        ({"arm_field": "methods"}, "arm_field of made_up: Settings has no setting 'methods'"),
    ],
)
def test_what_an_experiment_declares_must_be_settings(change, words):
    with pytest.raises(ConfigError, match=words):
        dataclasses.replace(EXPERIMENT, **change)


def test_a_setting_may_not_have_the_name_of_a_launch_setting():
    @dataclasses.dataclass(frozen=True)
    class Taken(StudyConfig):
        out: float = 1.0

    with pytest.raises(ConfigError, match="made_up: .*'out'"):
        dataclasses.replace(
            EXPERIMENT, config=Taken, sweepable=(), data_settings=(), arm_field=None
        )


def test_several_data_sets_are_refused_before_any_is_loaded():
    @dataclasses.dataclass(frozen=True)
    class OnData(StudyConfig):
        data: str = "digits"

    experiment = Experiment("on_data", OnData, load=no_build, build=no_build)
    with pytest.raises(
        ConfigError, match="data=digits,mnist_5k: all cells of a run share their data"
    ):
        validate(experiment, OnData(), {"data": ("digits", "mnist_5k")})


def built_with(grid, **changes):
    """(exit code, what `build` was given, by arm) of `check`."""
    seen = {}

    def build(config, hyper, inputs):
        seen.setdefault((config.method, getattr(config, "limit", None)), hyper["rate"])
        return tiny_task(config, hyper, inputs)

    experiment = dataclasses.replace(EXPERIMENT, build=build, **changes)
    return check(experiment, SMALL, grid), seen


def test_lanes_that_differ_in_a_number_get_a_tracer_and_all_others_the_number():
    code, seen = built_with({"rate": (0.1, 0.2)})
    assert code == 0 and set(seen) == {(("a",), None), (("b",), None)}
    assert all(isinstance(rate, jax.core.Tracer) for rate in seen.values())
    for grid in ({}, {"rate": (0.2,)}, {"limit": (1.0, 2.0)}):
        code, seen = built_with(grid)
        assert code == 0 and len(seen) == (4 if "limit" in grid else 2)
        assert all(rate == (0.2 if "rate" in grid else 0.1) for rate in seen.values())
        assert all(type(rate) is float for rate in seen.values())


def test_what_cannot_be_built_is_refused_before_anything_is_trained(tmp_path, capsys):
    """The second arm is refused while its program is traced."""

    def build(config, hyper, inputs):
        require(config.method != ("b",), "b cannot be built")
        return tiny_task(config, hyper, inputs)

    experiment = dataclasses.replace(EXPERIMENT, build=build)
    assert check(experiment, SMALL) == 2
    assert main(experiment, [*SMALL, "--out", str(tmp_path / "run"), "--progress", "quiet"]) == 2
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    assert capsys.readouterr().err.count("error: b cannot be built") == 2


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
        (["gan_ring", "--grid"], "needs --grid FIELD=VALUE"),
        (["gan_ring", "--grid", "num_steps=1,2"], "cannot be ablated"),
        (["gan_ring", "--grid", "learning_rate=1", "--grid", "batch_size=2"], "once"),
    ],
)
def test_the_command_line_says_what_is_wrong(capsys, arguments, words):
    try:
        code = cli.main(["ablate", *arguments])
    except SystemExit as stop:
        code = stop.code
    assert code == 2 and words in capsys.readouterr().err


def test_help_lists_the_settings(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["ablate", "gan_ring", "--help"])
    assert stop.value.code == 0 and "--learning-rate" in capsys.readouterr().out.replace("_", "-")
