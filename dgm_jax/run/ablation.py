"""Ablations: the data that all cells share, and the settings that made no difference."""

from typing import NamedTuple

import numpy as np

from dgm_jax.core import json_values, require, tree_sha256
from dgm_jax.run.cells import with_settings
from dgm_jax.run.experiment import Experiment, Inputs
from dgm_jax.run.outcomes import ArmOutcome
from dgm_jax.run.settings import SettingsView, StudyConfig


class Variant(NamedTuple):
    """One set of the settings that `load` reads.

    Attributes:
        label: `SETTING=VALUE`, the grid's value that it has; "" for the first cell.
        settings: what `load` sees.
    """

    label: str
    settings: SettingsView


def variants(experiment: Experiment, config: StudyConfig, grid: dict[str, tuple]) -> list[Variant]:
    """Lists the settings with which `load` must be called.

    Args:
        experiment: of the run.
        config: its settings.
        grid: {setting: values}.

    Returns:
        The first cell, and one variant for every other value of a setting that `load` reads.
    """
    grid = {name: values for name, values in grid.items() if name != experiment.arm_field}
    config = with_settings(config, {name: values[0] for name, values in grid.items()})
    listed = [Variant("", experiment.data_view(config))]
    for name in [name for name in grid if name in experiment.data_settings]:
        for value in grid[name][1:]:
            other = with_settings(config, {name: value})
            listed.append(Variant(f"{name}={value}", experiment.data_view(other)))
    return listed


def shared_inputs(experiment: Experiment, found: list[Variant], needed: list[tuple]) -> Inputs:
    """Loads the inputs of all cells.

    Args:
        experiment: of the run.
        found: what `variants` returned.
        needed: for each variant the folders that `load` gets.

    Returns:
        The inputs.

    Raises:
        ConfigError: a setting changes the inputs, so that each of its values takes a run of its
            own.
    """
    load = experiment.functions.load
    inputs = load(found[0].settings, needed[0])
    sha256 = tree_sha256(inputs.arrays) if found[1:] else ""
    for variant, folders in zip(found[1:], needed[1:], strict=True):
        other = load(variant.settings, folders)
        require(
            (other.identity, tree_sha256(other.arrays)) == (inputs.identity, sha256),
            f"{variant.label} changes the data and cannot be ablated within one run: start a run"
            " for each value",
        )
    return inputs


def without_effect(results: list[ArmOutcome], arm_field: str | None) -> list[str]:
    """Names arms that ended with the same bits although their settings differ.

    Arms whose seeds have all failed were frozen on the way and are not compared.

    Args:
        results: all arms of the run.
        arm_field: the setting that lists the arms, if any.

    Returns:
        Sentences.
    """
    trained: dict[tuple, list[ArmOutcome]] = {}
    evaluated: dict[tuple, list[ArmOutcome]] = {}
    for result in results:
        if np.any(result.failed_at < 0):
            arm = getattr(result.arm_result.config, arm_field) if arm_field else None
            trained.setdefault((result.params_sha256, arm), []).append(result)
            dumped = json_values.dumps(result.metrics)
            evaluated.setdefault((result.params_sha256, dumped), []).append(result)
    sentences = [
        f"these settings made no difference: {_names(equal)}: equal parameters and values, bit for"
        " bit"
        for equal in evaluated.values()
        if len(equal) > 1
    ]
    sentences += [
        f"these settings made no difference to the training: {_names(equal)}: equal parameters, bit"
        " for bit; their values differ, so they matter to the evaluation at most"
        for equal in trained.values()
        if any(result.metrics != equal[0].metrics for result in equal)
    ]
    return sentences


def _names(equal: list[ArmOutcome]) -> str:
    return " = ".join(f"({result.arm_result.name})" for result in equal)
