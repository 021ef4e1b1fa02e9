"""Ablations: a grid of settings from the command line, the data that all its cells share, and which
of the cells came out the same."""

import dataclasses
import types
import typing

import numpy as np

from dgm_jax.core import ConfigError, did_you_mean, require, tree_sha256
from dgm_jax.run import records
from dgm_jax.run.arms import Trained
from dgm_jax.run.experiment import Data, Experiment, RunConfig, with_settings


def parse_grid(experiment: Experiment, cells: list[str]) -> dict[str, tuple]:
    """`["learning_rate=1e-4,2e-4", "method=vanilla,packed2"]` as values of the settings' types.

    A setting that is a list gets a list of one item in each cell. Raises ConfigError naming the
    setting that does not exist, the value that does not fit, or a setting of the run as a whole
    (`RunConfig`: seeds, steps, folders), which all cells share.
    """
    hints = typing.get_type_hints(experiment.config)
    shared = {field.name for field in dataclasses.fields(RunConfig)}
    grid = {}
    for cell in cells:
        name, equals, values = cell.partition("=")
        require(bool(equals and values), f"--grid takes FIELD=VALUE,VALUE, got {cell!r}")
        require(
            name in hints, f"{experiment.name} has no setting {name!r}{did_you_mean(name, hints)}"
        )
        require(name not in shared, f"{name} belongs to the run as a whole and cannot be ablated")
        require(name not in grid, f"--grid names {name} twice")
        grid[name] = tuple(_convert(name, value, hints[name]) for value in values.split(","))
    return grid


def _convert(name: str, text: str, hint):
    """`text` as the type of the setting: float, int, bool, str, one of these or None, or an item of
    a tuple."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType, tuple):
        hint = next(a for a in typing.get_args(hint) if a not in (type(None), ...))
    if hint is bool:
        require(text in ("True", "False"), f"{name} takes True or False, got {text!r}")
        return text == "True"
    try:
        return hint(text)
    except ValueError as error:
        raise ConfigError(f"{name} takes a {hint.__name__}, got {text!r}") from error


def shared_data(experiment: Experiment, config: RunConfig, grid: dict[str, tuple]) -> Data:
    """The data of all cells. ConfigError for a setting that would change them: it takes a run for
    each value.

    Only settings that `load` reads are tried, so sweeping any other one costs nothing here.
    """
    grid = {name: values for name, values in grid.items() if name != experiment.arm_field}
    config = with_settings(config, {name: values[0] for name, values in grid.items()})
    watched, reads = _watched(config)
    data = experiment.load(watched)
    for name in [name for name in grid if name in reads]:
        seen = data.identity, tree_sha256(data.arrays)
        for value in grid[name][1:]:
            other = experiment.load(with_settings(config, {name: value}))
            same = (other.identity, tree_sha256(other.arrays)) == seen
            require(
                same,
                f"{name}={value} changes the data and cannot be ablated within one run: start a run"
                " for each value",
            )
    return data


def without_effect(results: list[Trained], arm_field: str | None) -> list[str]:
    """Sentences that name arms which ended with the same bits, although their settings differ.

    An arm whose seeds have all failed was frozen on the way, which says nothing about its settings.
    """
    trained: dict[tuple, list[Trained]] = {}
    evaluated: dict[tuple, list[Trained]] = {}
    for result in results:
        if np.any(result.failed_at < 0):
            arm = getattr(result.arm_result.config, arm_field) if arm_field else None
            trained.setdefault((result.sha256, arm), []).append(result)
            figures = records.dumps(result.metrics)
            evaluated.setdefault((result.sha256, figures), []).append(result)
    sentences = [
        f"these settings made no difference: {_names(found)}: equal parameters and figures, bit for"
        " bit"
        for found in evaluated.values()
        if len(found) > 1
    ]
    sentences += [
        f"these settings made no difference to the training: {_names(found)}: equal parameters, bit"
        " for bit; their figures differ, so they matter to the evaluation at most"
        for found in trained.values()
        if any(result.metrics != found[0].metrics for result in found)
    ]
    return sentences


def _names(found: list[Trained]) -> str:
    return " = ".join(f"({result.arm_result.name})" for result in found)


def _watched(config: RunConfig) -> tuple[RunConfig, set[str]]:
    """A copy of `config` that notes which of its settings are read, and where it notes them."""
    fields = {field.name for field in dataclasses.fields(config)}
    reads = set()

    class Watched(type(config)):
        def __getattribute__(self, name):
            if name in fields:
                reads.add(name)
            return super().__getattribute__(name)

    return Watched(**{name: getattr(config, name) for name in fields}), reads
