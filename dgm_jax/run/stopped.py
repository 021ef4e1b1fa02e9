"""What a run that has stopped leaves, and how it goes on, in a sentence."""

import pathlib

from dgm_jax.store.directory import CHECKPOINTS, SUMMARY
from dgm_jax.terminal.console import Command


def outlook(folder: pathlib.Path, command: Command | None) -> str:
    """What a run that a signal stopped has saved, and how it goes on."""
    if (folder / SUMMARY).exists():
        return f"the run is finished, and `dgm-jax report {folder}` makes its report again"
    if any(path.name.isdigit() for path in (folder / CHECKPOINTS).glob("*/*")):
        return f"its last checkpoint is saved: continue {continuing(folder, command)}"
    return f"nothing of the run was trained yet: start again {continuing(folder, command)}"


def continuing(folder: pathlib.Path, command: Command | None) -> str:
    """How a run goes on: the command to paste, if there was one."""
    if command is None:
        return f"with the same settings, --out {folder} --resume"
    return f"with\n  {command.resuming(folder)}"
