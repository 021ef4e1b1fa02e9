"""The cells of a run: the grid of the command line, arms, and groups of arms that share a program.

An *arm* is a method or a cell of an ablation, trained with the same seeds as every other arm. Arms
that differ only in sweepable numbers share one program: their lanes lie on one axis.
"""

import dataclasses
import itertools
import math
import types
import typing
from typing import Any, NamedTuple

from dgm_jax.core import ConfigError, did_you_mean, lookup, require
from dgm_jax.run import optimizers, ranges
from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import LaunchConfig, OptimizerConfig, StudyConfig, names_of


class Arm(NamedTuple):
    """One cell of a run.

    Attributes:
        name: of the arm.
        config: its settings.
    """

    name: str
    config: StudyConfig


class Group(NamedTuple):
    """Arms that one program trains.

    Attributes:
        arms: the arms.
        swept: the sweepable numbers in which they differ, and nothing else.
    """

    arms: tuple[Arm, ...]
    swept: tuple[str, ...]

    @property
    def name(self) -> str:
        """A name for progress and folders."""
        return (
            self.arms[0].name
            if len(self.arms) == 1
            else f"{self.arms[0].name} and {len(self.arms) - 1} more"
        )


def parse_grid(experiment: Experiment, cells: list[str]) -> dict[str, tuple]:
    """Parses the flag --grid into values of the settings' types.

    A number may be a range (`run.ranges`): `learning_rate=log:1e-5..1e-2:6`. A setting that is a
    list gets a list of one item in each cell.

    Args:
        experiment: whose settings they are.
        cells: such as `["learning_rate=1e-4,2e-4", "method=vanilla,packed2"]`.

    Returns:
        {setting: values}.

    Raises:
        ConfigError: a setting does not exist, a value does not fit, or a setting belongs to the run
            as a whole (`StudyConfig` and `LaunchConfig`: seeds, steps, folders), so that all cells
            share it.
    """
    hints = typing.get_type_hints(experiment.config)
    shared = names_of(StudyConfig) + names_of(LaunchConfig)
    grid = {}
    for cell in cells:
        name, equals, values = cell.partition("=")
        require(bool(equals and values), f"--grid takes FIELD=VALUE,VALUE, got {cell!r}")
        require(name not in shared, f"{name} belongs to the run as a whole and cannot be ablated")
        require(name in hints, _unknown(experiment, name, [n for n in hints if n not in shared]))
        require(name not in grid, f"--grid names {name} twice")
        parsed = [_values(name, value, hints[name]) for value in values.split(",")]
        grid[name] = tuple(itertools.chain.from_iterable(parsed))
    return grid


def _unknown(experiment: Experiment, name: str, known: list[str]) -> str:
    near = did_you_mean(name, known)
    return f"{experiment.name} has no setting {name!r}{near}; it has: {', '.join(known)}"


def _values(name: str, text: str, hint) -> list:
    """The values of one entry of a grid; several for a range of numbers."""
    kind = _kind(hint)
    if kind in (int, float) and ranges.is_range(text):
        return ranges.values(name, text, kind)
    return [_convert(name, text, kind)]


def _kind(hint):
    """The type of a setting's value, or of the items of a list; never None."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType, tuple):
        return next(a for a in typing.get_args(hint) if a not in (type(None), ...))
    return hint


def _convert(name: str, text: str, hint):
    """`text` as a float, int, bool, str or choice."""
    if typing.get_origin(hint) is typing.Literal:
        return lookup(typing.get_args(hint), text, name)
    if hint is bool:
        require(text in ("True", "False"), f"{name} takes True or False, got {text!r}")
        return text == "True"
    try:
        return hint(text)
    except ValueError as error:
        raise ConfigError(f"{name} takes a {hint.__name__}, got {text!r}") from error


def validate(
    experiment: Experiment, config: StudyConfig, grid: dict[str, tuple] | None = None
) -> None:
    """Checks the settings of every cell.

    Args:
        experiment: of the run.
        config: its settings.
        grid: {setting: values} of an ablation.

    Raises:
        ConfigError: a setting is wrong; the message names it, what it must be and what it is.
    """
    for name in ("num_seeds", "num_steps", "log_every"):
        value = getattr(config, name)
        # seeds and steps are counted in int32
        require(1 <= value < 2**31, f"{name} must be at least 1 and less than 2**31, got {value}")
    # A key is made of 32 bits of the seed: a larger one would be some smaller seed's run.
    require(
        0 <= config.seed < 2**32, f"seed must be at least 0 and less than 2**32, got {config.seed}"
    )
    for cell in (Arm("", config), *arms(experiment, config, grid)):
        _require_numbers(cell.config)
    for cell in arms(experiment, config, grid):
        if isinstance(cell.config, OptimizerConfig):
            optimizers.validate(cell.config)
        experiment.functions.validate(cell.config)


def _require_numbers(config: StudyConfig) -> None:
    """Checks that numbers are finite and that integers fit int32, since all counters are int32."""
    for name in names_of(config):
        value = getattr(config, name)
        for number in value if isinstance(value, tuple) else (value,):
            finite = not isinstance(number, float) or math.isfinite(number)
            require(finite, f"{name} must be finite, got {number}")
            counted = name == "seed" or not isinstance(number, int) or -(2**31) <= number < 2**31
            require(counted, f"{name} must be less than 2**31, got {number}")


def arms(
    experiment: Experiment, config: StudyConfig, grid: dict[str, tuple] | None = None
) -> list[Arm]:
    """The cells of a run: every value of `arm_field` times every point of the grid.

    Args:
        experiment: of the run.
        config: its settings.
        grid: {setting: values} of an ablation.

    Returns:
        One arm for each cell.

    Raises:
        ConfigError: the grid names an unknown setting or several data sets, or a setting has no
            values or equal ones.
    """
    axes = dict(grid or {})
    known = names_of(config)
    for name in axes:
        require(
            name in known, f"{experiment.name} has no setting {name!r}{did_you_mean(name, known)}"
        )
    names = ",".join(map(str, axes.get("data", ())))
    require(
        "," not in names, f"data={names}: all cells of a run share their data: start a run for each"
    )
    if experiment.arm_field and experiment.arm_field not in axes:
        axes = {experiment.arm_field: getattr(config, experiment.arm_field), **axes}
    for name, values in axes.items():
        require(
            bool(values) and len(set(values)) == len(values),
            f"{name} must have different values, at least one, got {', '.join(map(str, values))!r}",
        )
    cells = []
    for point in itertools.product(*axes.values()):
        chosen = dict(zip(axes, point, strict=True))
        label = [v if k == experiment.arm_field else f"{k}={v}" for k, v in chosen.items()]
        cells.append(
            Arm(", ".join(map(str, label)) or experiment.name, with_settings(config, chosen))
        )
    return cells


def with_settings(config: StudyConfig, chosen: dict[str, Any]) -> StudyConfig:
    """Settings with one value for each chosen setting.

    Args:
        config: the settings.
        chosen: {setting: value}; a setting that is a list gets a list of that one value.

    Returns:
        The changed settings.
    """
    values = {k: (v,) if isinstance(getattr(config, k), tuple) else v for k, v in chosen.items()}
    return dataclasses.replace(config, **values)


def groups(experiment: Experiment, cells: list[Arm]) -> list[Group]:
    """Groups cells that share a program because they differ only in sweepable numbers.

    Args:
        experiment: of the run.
        cells: its arms.

    Returns:
        The groups, in the order of their first arms.
    """
    by_program: dict[Any, list[Arm]] = {}
    for cell in cells:
        numbers = [n for n in experiment.sweepable if isinstance(getattr(cell.config, n), float)]
        rest = dataclasses.replace(cell.config, **dict.fromkeys(numbers, 0.0))
        by_program.setdefault(rest, []).append(cell)
    return [Group(tuple(same), _differing(experiment, same)) for same in by_program.values()]


def _differing(experiment: Experiment, cells: list[Arm]) -> tuple[str, ...]:
    values = {n: {getattr(cell.config, n) for cell in cells} for n in experiment.sweepable}
    return tuple(name for name, different in values.items() if len(different) > 1)
