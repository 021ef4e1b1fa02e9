"""A run as its folder has it: which experiment it is, its settings and how it was launched."""

import dataclasses
import pathlib
import typing
from typing import Any, NamedTuple

from dgm_jax.core import ConfigError, RunDirectoryError, lookup, require
from dgm_jax.run import catalogue
from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import LaunchConfig, StudyConfig, names_of
from dgm_jax.store.reading import CONFIG, read_config, read_environment
from dgm_jax.terminal import signals


class Recorded(NamedTuple):
    """What config.json and environment.json of a run folder say.

    grid: `{setting: values}` of an ablation. dataset: the identity of the data; empty where the run
        has not seen them yet, or environment.json is lost.
    """

    experiment: Experiment
    config: StudyConfig
    grid: dict[str, tuple]
    launch: LaunchConfig
    dataset: dict[str, Any]


def recorded(folder, experiment: Experiment | None = None) -> Recorded:
    """Reads a run folder without changing it.

    Args:
        folder: of a run, finished or not.
        experiment: the run's own; by default the one of its name that `dgm-jax list` has.

    Raises:
        RunDirectoryError: there is no run, or its settings are not those of the experiment.
        ConfigError: no experiment of that name is installed.
    """
    folder = pathlib.Path(folder)
    require((folder / CONFIG).is_file(), f"{folder} holds no run: no {CONFIG}", RunDirectoryError)
    name, settings, *_ = read_config(folder)
    grid = settings.pop("grid", {})
    lists = isinstance(grid, dict) and all(isinstance(values, list) for values in grid.values())
    require(lists, f"{folder / CONFIG}: grid is no table of lists", RunDirectoryError)
    experiment = experiment or _experiment(name)
    require(
        name == experiment.name,
        f"{folder} holds a run of {name!r}, not of {experiment.name!r}",
        RunDirectoryError,
    )
    config = _settings(folder / CONFIG, experiment.config, settings)
    environment = read_environment(folder)
    return Recorded(
        experiment,
        config,
        {field: tuple(values) for field, values in grid.items()},
        LaunchConfig(**_sound(_last_launch(environment))),
        dict(environment.get("dataset") or {}),
    )


def given(place: str | None) -> Experiment | None:
    """The experiment of a user's own at a path or in a module; None where none is given.

    Raises:
        ConfigError: there is none.
    """
    if place is None:
        return None
    try:
        with signals.importing():
            return catalogue.load_own(place)
    except catalogue.NotAnExperiment as error:
        raise ConfigError(str(error)) from error


def _last_launch(environment: dict) -> dict:
    """How the newest start was asked for."""
    starts = [environment, *environment.get("resumed", [])]
    return starts[-1].get("launch") or {}


def _sound(launch: dict[str, Any]) -> dict[str, Any]:
    """Of what environment.json has, the settings that there are and the values that they take."""
    hints = typing.get_type_hints(LaunchConfig)
    return {
        name: value
        for name, value in launch.items()
        if name in hints and (value in typing.get_args(hints[name]) or type(value) is hints[name])
    }


def _experiment(name) -> Experiment:
    lookup(catalogue.experiments(), str(name), "experiment")
    try:
        return catalogue.load_experiment(str(name))
    except catalogue.NotAnExperiment as error:
        raise ConfigError(str(error)) from error


def _settings(file: pathlib.Path, kind: type, values: dict[str, Any]) -> Any:
    """A dataclass of settings from what JSON has of it: lists are tuples again."""
    known, hints = names_of(kind), typing.get_type_hints(kind)
    unknown = sorted(set(values) - set(known))
    require(
        not unknown, f"{file} has settings that {kind.__name__} lacks: {unknown}", RunDirectoryError
    )
    missing = sorted(field.name for field in dataclasses.fields(kind) if field.name not in values)
    require(not missing, f"{file} lacks settings: {missing}", RunDirectoryError)
    typed: dict[str, Any] = {name: _typed(value, hints[name]) for name, value in values.items()}
    return kind(**typed)


def _typed(value, hint) -> Any:
    """JSON has no tuples, and writes a float without a fraction as a reader may: 1.0 or 1."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, int) and not isinstance(value, bool) and _is_float(hint):
        return float(value)
    return value


def _is_float(hint) -> bool:
    return hint is float or float in typing.get_args(hint) and int not in typing.get_args(hint)
