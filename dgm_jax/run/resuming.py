"""`dgm-jax resume FOLDER`: continues a run as it was started.

A finished run has nothing left to do; `run.longer` makes it the beginning of a longer one.
"""

import dataclasses
import os
import pathlib
import shlex
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from dgm_jax.run import catalogue, launchers
from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import Display, LaunchConfig, Tracker, names_of
from dgm_jax.run.watching import watched
from dgm_jax.terminal import console, signals
from dgm_jax.terminal.console import Command

if TYPE_CHECKING:
    from dgm_jax.run.launch import Job


@dataclasses.dataclass(frozen=True)
class Resume:
    """Continues the run in a folder, as it was started."""

    folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FOLDER")]
    """Run folder."""
    num_steps: int | None = None
    """Train a finished run on to this number of steps, as a new run in --out."""
    out: str = ""
    """Run folder of the longer run."""
    stretch_schedule: bool = False
    """With --num_steps: continue with the schedule of the new length, although the steps already
    made would have been others under it."""
    experiment: str | None = None
    """The run's experiment if `dgm-jax list` does not have it: ./FILE.py or PACKAGE.MODULE."""
    progress: Display | None = None
    """How progress is shown; by default as before."""
    trackers: tuple[Tracker, ...] | None = None
    """Show values and plots in these tools; by default as before. Without a name: in none."""
    coordinator: str = ""
    """As of `dgm-jax run`; the number of processes may be another than before."""
    num_processes: int = 0
    """As of `dgm-jax run`."""
    process_id: int = -1
    """As of `dgm-jax run`."""

    @property
    def processes(self) -> dict[str, Any]:
        """The launch settings that say which processes the run consists of."""
        names = ("coordinator", "num_processes", "process_id")
        return {name: getattr(self, name) for name in names}


def resume(asked: Resume) -> int:
    """Continues a run.

    Args:
        asked: the flags.

    Returns:
        The exit code.
    """
    code = watched(LaunchConfig(**asked.processes))
    if code is not None:
        return code
    with signals.importing():
        from dgm_jax.core import ConfigError, DgmError, require
        from dgm_jax.run import launch, longer

    try:
        job = _job(asked)
        if asked.num_steps is not None:
            alone = launchers.asked(job.launch, os.environ) is None
            require(alone, "--num_steps is for one process: give --num_processes 1")
            return longer.run(job, asked.num_steps, asked.out, asked.stretch_schedule)
        words = "--out and --stretch_schedule belong to --num_steps: more steps in a new folder"
        require(not (asked.out or asked.stretch_schedule), words, ConfigError)
    except DgmError as error:
        console.tell(f"error: {error}")
        return error.exit_code
    finished = _is_finished(asked.folder)
    code = launch.run(job, None)
    if finished:
        command = f"dgm-jax resume {shlex.quote(asked.folder)} --num_steps N --out NEW"
        print(f"{asked.folder} is finished; a longer run goes on from it: {command}")
    return code


def _job(asked: Resume) -> "Job":
    """The run in the folder, as it was started."""
    from dgm_jax.run.launch import Job
    from dgm_jax.run.recorded import given, recorded

    run = recorded(asked.folder, given(asked.experiment))
    changes: dict[str, Any] = {"progress": asked.progress} if asked.progress else {}
    changes |= {} if asked.trackers is None else {"trackers": asked.trackers}
    launch = dataclasses.replace(
        run.launch, out=asked.folder, resume=True, profile=False, **asked.processes, **changes
    )
    return Job(run.experiment, run.config, launch, run.grid)


def _is_finished(folder: str) -> bool:
    from dgm_jax.core import RunDirectoryError
    from dgm_jax.store.reading import read_summary

    try:
        return read_summary(folder) is not None
    except RunDirectoryError:
        return False


def how(experiment: Experiment, folder: pathlib.Path, command: Command | None) -> str:
    """How to continue a run that has stopped: a command to paste, if there is one.

    Args:
        experiment: of the run.
        folder: of the run.
        command: what started it, repeated if `dgm-jax list` does not have the experiment.

    Returns:
        A part of a sentence, from "with".
    """
    if _is_installed(experiment):
        return f"with\n  {shlex.join(['dgm-jax', 'resume', str(folder)])}"
    return by_flags(folder, command)


def by_flags(folder: pathlib.Path, command: Command | None) -> str:
    """The command that started a run, with its folder and --resume.

    Args:
        folder: of the run.
        command: what started it; None if there was no command.

    Returns:
        A part of a sentence, from "with".
    """
    if command is None:
        return f"with the same settings, --out {folder} --resume"
    return f"with\n  {command.resuming(folder)}"


def _is_installed(experiment: Experiment) -> bool:
    if experiment.name not in catalogue.experiments():
        return False
    try:
        installed = catalogue.load_experiment(experiment.name)
    except catalogue.NotAnExperiment:
        return False
    return names_of(installed.config) == names_of(experiment.config)
