"""The run room: the folder a run lives in, what is seen while it works, and the report at its end.

`RunDirectory` owns the folder, `Progress` talks to the terminal, `statistics` makes intervals over
seeds, and `write_report` turns a folder into one HTML file.
"""

from dgm_jax.run import environment, statistics
from dgm_jax.run.directory import RunDirectory
from dgm_jax.run.environment import collect_environment
from dgm_jax.run.experiment import Arm, ArmResult, Data, Experiment, RunConfig
from dgm_jax.run.launch import is_check, main
from dgm_jax.run.parameters import load_parameters, save_parameters
from dgm_jax.run.progress import Progress
from dgm_jax.run.report import format_table, write_report

__all__ = [
    "Arm",
    "ArmResult",
    "Data",
    "Experiment",
    "Progress",
    "RunConfig",
    "RunDirectory",
    "collect_environment",
    "environment",
    "format_table",
    "is_check",
    "load_parameters",
    "main",
    "save_parameters",
    "statistics",
    "write_report",
]
