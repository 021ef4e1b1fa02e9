"""Experiments, from settings to a finished run folder.

`Experiment` says what an experiment is, `main` runs it from a command line, `check` looks at it
without training, `load` gives back what a run has trained. The folder is the business of
`dgm_jax.store`, intervals and the page of `dgm_jax.report`, what is shown meanwhile of
`dgm_jax.terminal`.

A name is imported when it is asked for, so that an experiment's settings cost no import of JAX.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dgm_jax.run.experiment import ArmResult, Experiment, Inputs, Need
    from dgm_jax.run.loading import Trained, load
    from dgm_jax.run.settings import LaunchConfig, StudyConfig
    from dgm_jax.run.start import check, main

_HOME = {
    "ArmResult": "experiment",
    "Experiment": "experiment",
    "Inputs": "experiment",
    "LaunchConfig": "settings",
    "Need": "experiment",
    "StudyConfig": "settings",
    "Trained": "loading",
    "check": "start",
    "load": "loading",
    "main": "start",
}
_GONE = {
    "Data": "it is Inputs now (dataset -> context)",
    "RunConfig": (
        "settings derive from StudyConfig now, and LaunchConfig has out, resume and the like;"
        " build takes (config, hyper, inputs), and Experiment has no distribute"
    ),
    "is_check": "an experiment that needs another's result declares it by Experiment.needs now",
} | {
    name: f"it is in dgm_jax.{room} now"
    for room, names in {
        "store": "RunDirectory collect_environment environment",
        "store.weights": "save_parameters",
        "run.load": "load_parameters",
        "report": "format_table statistics write_report",
        "terminal.progress": "Progress",
    }.items()
    for name in names.split()
}

__all__ = [
    "ArmResult",
    "Experiment",
    "Inputs",
    "LaunchConfig",
    "Need",
    "StudyConfig",
    "Trained",
    "check",
    "load",
    "main",
]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _GONE:
        # Of an AttributeError the statement `from dgm_jax.run import ...` would hide the text.
        raise ImportError(f"{__name__} has no {name}: {_GONE[name]}. CHANGELOG.md shows how")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
