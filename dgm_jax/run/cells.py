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
        first = self.arms[0].name
        num_others = len(self.arms) - 1
        if num_others == 0:
            return first
        return f"{first} and {num_others} more"


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
    known = [name for name in hints if name not in shared]
    grid = {}
    for cell in cells:
        name, equals, entries = cell.partition("=")
        is_complete = bool(equals and entries)
        require(is_complete, f"--grid takes FIELD=VALUE,VALUE, got {cell!r}")
        require(name not in shared, f"{name} belongs to the run as a whole and cannot be ablated")
        require(name in hints, _unknown(experiment, name, known))
        require(name not in grid, f"--grid names {name} twice")
        values = []
        for entry in entries.split(","):
            values.extend(_values(name, entry, hints[name]))
        grid[name] = tuple(values)
    return grid


def _unknown(experiment: Experiment, name: str, known: list[str]) -> str:
    near = did_you_mean(name, known)
    listed = ", ".join(known)
    return f"{experiment.name} has no setting {name!r}{near}; it has: {listed}"


def _values(name: str, text: str, hint) -> list:
    """The values of one entry of a grid; several for a range of numbers."""
    kind = _kind(hint)
    if kind in (int, float) and ranges.is_range(text):
        return ranges.values(name, text, kind)
    value = _convert(name, text, kind)
    return [value]


def _kind(hint):
    """The type of a setting's value, or of the items of a list; never None."""
    origin = typing.get_origin(hint)
    if origin not in (typing.Union, types.UnionType, tuple):
        return hint
    kinds = (kind for kind in typing.get_args(hint) if kind not in (type(None), ...))
    return next(kinds)


def _convert(name: str, text: str, hint):
    """`text` as a float, int, bool, str or choice."""
    if typing.get_origin(hint) is typing.Literal:
        choices = typing.get_args(hint)
        return lookup(choices, text, name)
    if hint is bool:
        is_bool = text in ("True", "False")
        require(is_bool, f"{name} takes True or False, got {text!r}")
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
        is_counted = 1 <= value < 2**31  # seeds and steps are counted in int32
        require(is_counted, f"{name} must be at least 1 and less than 2**31, got {value}")
    # A key is made of 32 bits of the seed: a larger one would be some smaller seed's run.
    seed = config.seed
    require(0 <= seed < 2**32, f"seed must be at least 0 and less than 2**32, got {seed}")
    configs = [cell.config for cell in arms(experiment, config, grid)]
    for settings in (config, *configs):
        _require_numbers(settings)
    for settings in configs:
        if isinstance(settings, OptimizerConfig):
            optimizers.validate(settings)
        experiment.functions.validate(settings)


def _require_numbers(config: StudyConfig) -> None:
    """Checks that numbers are finite and that integers fit int32, since all counters are int32."""
    for name in names_of(config):
        value = getattr(config, name)
        numbers = value if isinstance(value, tuple) else (value,)
        for number in numbers:
            if isinstance(number, float):
                require(math.isfinite(number), f"{name} must be finite, got {number}")
            elif isinstance(number, int) and name != "seed":
                is_int32 = -(2**31) <= number < 2**31
                require(is_int32, f"{name} must be less than 2**31, got {number}")


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
        near = did_you_mean(name, known)
        require(name in known, f"{experiment.name} has no setting {name!r}{near}")
    data = ",".join(map(str, axes.get("data", ())))
    message = f"data={data}: all cells of a run share their data: start a run for each"
    require("," not in data, message)
    arm_field = experiment.arm_field
    if arm_field and arm_field not in axes:
        axes = {arm_field: getattr(config, arm_field), **axes}
    for name, values in axes.items():
        num_different = len(set(values))
        are_different = bool(values) and num_different == len(values)
        listed = ", ".join(map(str, values))
        message = f"{name} must have different values, at least one, got {listed!r}"
        require(are_different, message)
    cells = []
    for point in itertools.product(*axes.values()):
        chosen = dict(zip(axes, point, strict=True))
        label = _label(chosen, arm_field)
        settings = with_settings(config, chosen)
        cells.append(Arm(label or experiment.name, settings))
    return cells


def _label(chosen: dict[str, Any], arm_field: str | None) -> str:
    """A cell's name: its value of `arm_field`, and NAME=VALUE of every other chosen setting."""
    parts = []
    for name, value in chosen.items():
        if name == arm_field:
            parts.append(str(value))
        else:
            parts.append(f"{name}={value}")
    return ", ".join(parts)


def with_settings(config: StudyConfig, chosen: dict[str, Any]) -> StudyConfig:
    """Settings with one value for each chosen setting.

    Args:
        config: the settings.
        chosen: {setting: value}; a setting that is a list gets a list of that one value.

    Returns:
        The changed settings.
    """
    values = {}
    for name, value in chosen.items():
        is_list = isinstance(getattr(config, name), tuple)
        values[name] = (value,) if is_list else value
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
        settings = cell.config
        names = [n for n in experiment.sweepable if isinstance(getattr(settings, n), float)]
        zeros = dict.fromkeys(names, 0.0)
        rest = dataclasses.replace(settings, **zeros)
        by_program.setdefault(rest, []).append(cell)
    groups_of_arms = []
    for same in by_program.values():
        swept = _differing(experiment, same)
        groups_of_arms.append(Group(tuple(same), swept))
    return groups_of_arms


def _differing(experiment: Experiment, cells: list[Arm]) -> tuple[str, ...]:
    values = {}
    for name in experiment.sweepable:
        values[name] = {getattr(cell.config, name) for cell in cells}
    return tuple(name for name, different in values.items() if len(different) > 1)
