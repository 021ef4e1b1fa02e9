"""The run room: the folder a run lives in, what is seen while it works, and the report at its end.

`RunDirectory` owns the folder, `Progress` talks to the terminal, `statistics` makes intervals over
seeds, and `write_report` turns a folder into one HTML file.

A name is imported when it is asked for, so that an experiment's settings cost no import of JAX.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dgm_jax.run import environment, statistics
    from dgm_jax.run.directory import RunDirectory
    from dgm_jax.run.environment import collect_environment
    from dgm_jax.run.experiment import ArmResult, Experiment, Inputs, Need
    from dgm_jax.run.parameters import load_parameters, save_parameters
    from dgm_jax.run.progress import Progress
    from dgm_jax.run.report import format_table, write_report
    from dgm_jax.run.settings import LaunchConfig, StudyConfig
    from dgm_jax.run.start import check, main

_HOME = {
    "ArmResult": "experiment",
    "Experiment": "experiment",
    "Inputs": "experiment",
    "LaunchConfig": "settings",
    "Need": "experiment",
    "Progress": "progress",
    "RunDirectory": "directory",
    "StudyConfig": "settings",
    "check": "start",
    "collect_environment": "environment",
    "format_table": "report",
    "load_parameters": "parameters",
    "main": "start",
    "save_parameters": "parameters",
    "write_report": "report",
}
_MODULES = ("environment", "statistics")
_GONE = {
    "Data": "it is Inputs now (dataset -> context)",
    "RunConfig": (
        "settings derive from StudyConfig now, and LaunchConfig has out, resume and the like;"
        " build takes (config, hyper, inputs), and Experiment has no distribute"
    ),
    "is_check": "an experiment that needs another's result declares it by Experiment.needs now",
}

__all__ = [
    "ArmResult",
    "Experiment",
    "Inputs",
    "LaunchConfig",
    "Need",
    "Progress",
    "RunDirectory",
    "StudyConfig",
    "check",
    "collect_environment",
    "environment",
    "format_table",
    "load_parameters",
    "main",
    "save_parameters",
    "statistics",
    "write_report",
]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _GONE:
        # Of an AttributeError the statement `from dgm_jax.run import ...` would hide the text.
        raise ImportError(f"{__name__} has no {name}: {_GONE[name]}. CHANGELOG.md shows how")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
