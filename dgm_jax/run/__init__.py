"""Experiments, from settings to a finished run folder.

`Experiment` describes an experiment, `main` runs it from a command line, `check` inspects it
without training, `load` returns what a run has trained. `dgm_jax.store` handles the run folder,
`dgm_jax.report` the intervals and the page, `dgm_jax.terminal` the progress.

Names are imported on first use, so that an experiment's settings do not import JAX.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dgm_jax.run.experiment import ArmResult, Experiment, Inputs, Need
    from dgm_jax.run.loading import Trained, load
    from dgm_jax.run.optimizers import optimizer_of
    from dgm_jax.run.settings import LaunchConfig, OptimizerConfig, StudyConfig
    from dgm_jax.run.start import check, main

_HOME = {
    "ArmResult": "experiment",
    "Experiment": "experiment",
    "Inputs": "experiment",
    "LaunchConfig": "settings",
    "Need": "experiment",
    "OptimizerConfig": "settings",
    "StudyConfig": "settings",
    "Trained": "loading",
    "check": "start",
    "load": "loading",
    "main": "start",
    "optimizer_of": "optimizers",
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
    "OptimizerConfig",
    "StudyConfig",
    "Trained",
    "check",
    "load",
    "main",
    "optimizer_of",
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
