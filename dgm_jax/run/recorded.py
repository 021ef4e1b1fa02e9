"""A run as its folder records it: its experiment, its settings and how it was launched."""

import pathlib
import typing
from typing import Any, NamedTuple

from dgm_jax.core import ConfigError, RunDirectoryError, lookup, require
from dgm_jax.run import catalogue
from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import LaunchConfig, StudyConfig, may_lack, names_of
from dgm_jax.store.reading import CONFIG, PathLike, read_config, read_environment
from dgm_jax.terminal import signals


class Recorded(NamedTuple):
    """What config.json and environment.json of a run folder say.

    Attributes:
        experiment: of the run.
        config: its settings.
        grid: `{setting: values}` of an ablation.
        launch: how it was launched last.
        dataset: the identity of the data; empty if the run has not loaded them yet, or
            environment.json is lost.
    """

    experiment: Experiment
    config: StudyConfig
    grid: dict[str, tuple]
    launch: LaunchConfig
    dataset: dict[str, Any]


def recorded(folder: PathLike, experiment: Experiment | None = None) -> Recorded:
    """Reads a run folder without changing it.

    Args:
        folder: of a run, finished or not.
        experiment: the run's own; by default the one that `dgm-jax list` has under its name.

    Returns:
        The run.

    Raises:
        RunDirectoryError: there is no run, or its settings are not those of the experiment.
        ConfigError: no experiment of that name is installed.
    """
    folder = pathlib.Path(folder)
    file = folder / CONFIG
    require(file.is_file(), f"{folder} holds no run: no {CONFIG}", RunDirectoryError)
    name, settings, *_ = read_config(folder)
    grid = _grid(file, settings.pop("grid", {}))
    experiment = experiment or _experiment(name)
    message = f"{folder} holds a run of {name!r}, not of {experiment.name!r}"
    require(name == experiment.name, message, RunDirectoryError)
    config = _settings(file, experiment.config, settings)
    environment = read_environment(folder)
    last_launch = _sound(_last_launch(environment))
    launch = LaunchConfig(**last_launch)
    dataset = dict(environment.get("dataset") or {})
    return Recorded(experiment, config, grid, launch, dataset)


def _grid(file: pathlib.Path, grid: Any) -> dict[str, tuple]:
    """A grid from JSON, with lists turned back into tuples."""
    message = f"{file}: grid is no table of lists"
    require(isinstance(grid, dict), message, RunDirectoryError)
    typed = {}
    for field, values in grid.items():
        require(isinstance(values, list), message, RunDirectoryError)
        typed[field] = tuple(values)
    return typed


def given(place: str | None) -> Experiment | None:
    """Loads a user's own experiment.

    Args:
        place: a path or a module; None for neither.

    Returns:
        The experiment, or None.

    Raises:
        ConfigError: there is none at that place.
    """
    if place is None:
        return None
    try:
        with signals.importing():
            return catalogue.load_own(place)
    except catalogue.NotAnExperiment as error:
        raise ConfigError(str(error)) from error


def _last_launch(environment: dict) -> dict:
    """The launch settings of the newest start."""
    starts = [environment, *environment.get("resumed", [])]
    newest = starts[-1]
    return newest.get("launch") or {}


def _sound(launch: dict[str, Any]) -> dict[str, Any]:
    """The entries of environment.json that are launch settings with valid values."""
    hints = typing.get_type_hints(LaunchConfig)
    sound = {}
    for name, value in launch.items():
        if name not in hints:
            continue
        typed = _typed(value, hints[name])
        if _fits(typed, hints[name]):
            sound[name] = typed
    return sound


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type, a choice, or a tuple of choices."""
    if typing.get_origin(hint) is tuple:
        choice, _ = typing.get_args(hint)
        if type(value) is not tuple:
            return False
        return all(_fits(item, choice) for item in value)
    choices = typing.get_args(hint)
    return value in choices or type(value) is hint


def _experiment(name) -> Experiment:
    name = str(name)
    lookup(catalogue.experiments(), name, "experiment")
    try:
        return catalogue.load_experiment(name)
    except catalogue.NotAnExperiment as error:
        raise ConfigError(str(error)) from error


def _settings(file: pathlib.Path, kind: type, values: dict[str, Any]) -> Any:
    """A dataclass of settings from JSON, with lists turned back into tuples."""
    known = names_of(kind)
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(values) - set(known))
    message = f"{file} has settings that {kind.__name__} lacks: {unknown}"
    require(not unknown, message, RunDirectoryError)
    required = set(known) - set(may_lack(kind))
    missing = sorted(required - set(values))
    require(not missing, f"{file} lacks settings: {missing}", RunDirectoryError)
    typed = {name: _typed(value, hints[name]) for name, value in values.items()}
    return kind(**typed)


def _typed(value, hint) -> Any:
    """A value from JSON, which has no tuples, and may have 1 for the float 1.0."""
    if isinstance(value, list):
        return tuple(value)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if is_whole and _is_float(hint):
        return float(value)
    return value


def _is_float(hint) -> bool:
    if hint is float:
        return True
    kinds = typing.get_args(hint)
    return float in kinds and int not in kinds
