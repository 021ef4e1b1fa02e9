"""What a run that has stopped leaves, and how to continue it, in a sentence."""

import pathlib

from dgm_jax.run import resuming
from dgm_jax.run.experiment import Experiment
from dgm_jax.store.reading import CHECKPOINTS, SUMMARY
from dgm_jax.terminal.console import Command


def outlook(experiment: Experiment, folder: pathlib.Path, command: Command | None) -> str:
    """What a run that was stopped has saved, and how to continue it.

    Args:
        experiment: of the run.
        folder: of the run.
        command: what started it.

    Returns:
        A sentence.
    """
    if (folder / SUMMARY).exists():
        return f"the run is finished, and `dgm-jax report {folder}` makes its report again"
    if any(path.name.isdigit() for path in (folder / CHECKPOINTS).glob("*/*")):
        how = resuming.how(experiment, folder, command)
        return f"its last checkpoint is saved: continue {how}"
    return f"nothing of the run was trained yet: start again {resuming.by_flags(folder, command)}"
