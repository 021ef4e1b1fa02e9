"""From settings to a finished run folder.

A run that was killed continues at its newest checkpoint and ends with the same bits.
"""

import contextlib
import dataclasses
import datetime
import functools
import pathlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from dgm_jax import native
from dgm_jax.core import DgmError, require
from dgm_jax.core.once import each_once
from dgm_jax.parallel import processes
from dgm_jax.report import summaries
from dgm_jax.report.page import write_report
from dgm_jax.run import memory, outcomes, showing, stopped, together, unread
from dgm_jax.run.ablation import shared_inputs, variants
from dgm_jax.run.arms import train_all
from dgm_jax.run.cells import Arm, arms, groups, validate
from dgm_jax.run.context import Clock, Run
from dgm_jax.run.experiment import Experiment, Inputs, Need
from dgm_jax.run.lanes import devices_of, require_launchable
from dgm_jax.run.models import criterion
from dgm_jax.run.needs import finished_folder, needed_experiment
from dgm_jax.run.outcomes import ArmOutcome
from dgm_jax.run.profile import Profile
from dgm_jax.run.settings import (
    LaunchConfig,
    StudyConfig,
    as_recorded,
    may_lack,
)
from dgm_jax.run.summing_up import DIVERGED, exit_code, summary_of
from dgm_jax.run.tracking import Tracking, makers_of, tracked
from dgm_jax.store.directory import RunDirectory
from dgm_jax.store.reading import CONFIG
from dgm_jax.store.records import safe_name
from dgm_jax.terminal import signals
from dgm_jax.terminal.console import Command
from dgm_jax.terminal.progress import Progress
from dgm_jax.terminal.signals import Interrupted, watch_signals
from dgm_jax.trackers import require_installed


class Job(NamedTuple):
    """A run as it was asked for."""

    experiment: Experiment
    config: StudyConfig
    launch: LaunchConfig
    grid: dict[str, tuple]
    chosen: tuple[str, ...] = ()  # sentences on settings that were left open

    def resolved(self) -> "Job":
        """Returns the job with nothing left open."""
        config, sentences = self.experiment.functions.resolve(self.config)
        return self._replace(config=config, chosen=sentences)

    def cells(self, say: Callable[[str], None] | None = None) -> tuple["Job", list[Arm]]:
        """Returns the job with arms only in `config`, and its cells; `say` gets unread settings."""
        field = self.experiment.arm_field
        grid = dict(self.grid)
        config = self.config
        if field in grid:  # as if its flag had been given
            config = dataclasses.replace(config, **{field: grid.pop(field)})
        validate(self.experiment, config, grid)
        require_installed(self.launch.trackers)
        criterion(self.launch.keep_best)
        require_launchable(self.launch)
        cells = arms(self.experiment, config, grid)
        unread.tell(self.experiment, config, grid, cells, say, refuse=not self.launch.resume)
        return self._replace(config=config, grid=grid), cells

    def settings(self) -> dict:
        """Returns the settings as config.json has them."""
        grid = {"grid": {k: list(v) for k, v in self.grid.items()}} if self.grid else {}
        return as_recorded(self.config) | grid

    def inputs(self, progress: Progress) -> Inputs:
        """Loads the data of all cells; runs of other experiments that it needs come first."""
        obtain = lambda need: _or_train(need, self.launch, progress)
        return inputs_of(self, obtain, progress.phase("loading data"))


def run(job: Job, command: Command | None) -> int:
    """Trains a run to the end; a signal is raised as `Interrupted`.

    Args:
        job: the run.
        command: what was typed, if anything.

    Returns:
        The exit code.
    """
    folder = _folder(job.experiment, job.launch)
    try:
        together.connect(job.launch)
        convolutions = native.use_convolutions(job.launch.convolutions)
        progress = together.progress_of(job.launch)
        with watch_signals() as stop, convolutions, progress, together.running(stop):
            stop.outlook = lambda: stopped.outlook(job.experiment, folder, command)
            stop.notify = progress.notice
            stop.close = progress.close
            job = job.resolved()
            for sentence in job.chosen:
                progress.notice(sentence)
            return exit_code(_complete(job, folder, progress, show=True))
    except DgmError as error:
        # by the disk, which may have room again, or for want of memory, which may have so too
        refused = isinstance(error.__cause__, OSError) or memory.is_exhaustion(error.__cause__)
        how = f"; {stopped.outlook(job.experiment, folder, command)}" if refused else ""
        return together.failed(f"error: {error}{how}", error)
    except OSError as error:
        how = stopped.outlook(job.experiment, folder, command)
        return together.failed(f"error: {error}; {how}", error)


def inputs_of(
    job: Job,
    obtain: Callable[[Need], pathlib.Path | None],
    loading: AbstractContextManager | None = None,
) -> Inputs:
    """Loads the data of all cells; what the run needs is obtained before.

    Args:
        job: the run.
        obtain: returns the folder of a need.
        loading: entered after the needs are met.

    Returns:
        The inputs.
    """
    listed = variants(job.experiment, job.config, job.grid)
    needs = job.experiment.functions.needs
    with each_once():
        needed = [tuple(map(obtain, needs(variant.settings))) for variant in listed]
        with loading or contextlib.nullcontext():
            return shared_inputs(job.experiment, listed, needed)


def _or_train(need: Need, launch: LaunchConfig, progress: Progress) -> pathlib.Path:
    """The folder of a finished run, which is trained first if it is missing."""
    finished = finished_folder(need)
    if processes.agreed(finished is not None):
        return finished or pathlib.Path(need.folder)
    experiment = needed_experiment(need)
    config = experiment.config(**(need.settings or {}))
    folder = pathlib.Path(need.folder)
    own_launch = LaunchConfig(  # devices and strategy decide its bits: always the defaults
        out=need.folder,
        resume=(folder / CONFIG).exists(),
        num_devices=launch.num_devices,
        convolutions=launch.convolutions,
        progress=launch.progress,
    )
    progress.notice(f"first, since this run needs it: {need.experiment} in {folder}")
    summary = _complete(Job(experiment, config, own_launch, {}), folder, progress)
    signals.check()
    require(exit_code(summary) == 0, f"{need.experiment} in {folder}: every seed diverged")
    return folder


def _complete(job: Job, folder: pathlib.Path, progress: Progress, show: bool = False) -> dict:
    """Trains what is left of a run; returns its summary."""
    job, cells = job.cells(say=progress.notice)
    experiment = job.experiment
    makers = makers_of(experiment, job.launch.trackers)
    with signals.held():
        start = folder, experiment.name, job.settings()
        launch = dataclasses.asdict(job.launch) | ({"chosen": job.chosen} if job.chosen else {})
        directory = together.opened(
            *start,
            functools.partial(
                RunDirectory.create,
                *start,
                job.launch.resume,
                notify=progress.notice,
                usual=may_lack(type(job.config)),
                launch=launch,
            ),
        )
    with directory:
        if directory.finished:
            return processes.from_first(lambda: showing.report_again(folder, experiment, progress))
        steps = job.config.num_steps
        order = groups(experiment, cells)
        told = makers if directory.writes else {}
        with tracked(told, order, steps, directory, progress.notice) as tracking:
            summary = _trained(job, cells, directory, progress, tracking)
            with signals.held():  # what is left is short, and the run is done then
                # last: a folder with a summary is finished
                directory.write_summary(summaries.flattened(summary))
                report = pathlib.Path(processes.from_first(lambda: str(write_report(folder))))
                if show and directory.writes:
                    showing.show(experiment, summary, report, is_sweep=bool(job.grid))
            tracking.finish(summary, diverged=exit_code(summary) == DIVERGED)
    return summary


def _trained(job: Job, cells, directory, progress, tracking: Tracking) -> dict:
    """Trains what is left and draws the final pictures; returns the summary."""
    try:
        signals.check()
        with memory.exhaustion_told(memory.advice(job.config)):
            run, results = _train_all(job, cells, directory, progress, tracking)
            outcomes.draw(run, results)
    except (DgmError, Interrupted):
        directory.forget()
        raise
    return summary_of(run, results)


def _train_all(
    job: Job, cells, directory, progress, tracking: Tracking
) -> tuple[Run, list[ArmOutcome]]:
    experiment = job.experiment
    clock = Clock(time.monotonic())
    inputs = job.inputs(progress)
    directory.compare(dataset=inputs.identity)
    names = tuple(cell.name for cell in cells)
    is_traced = job.launch.profile and directory.writes
    profile = Profile(directory.path if is_traced else None, progress.notice)
    run = Run(
        experiment,
        job.config,
        job.launch,
        inputs,
        directory,
        progress,
        clock,
        names,
        profile,
        tracking,
    )
    devices = devices_of(job.launch)
    progress.memory = lambda: memory.in_use(devices)
    with watch_signals() as stop, stop.hold():
        stop.check()
        return run, train_all(run, groups(experiment, cells), stop)


def _folder(experiment: Experiment, launch: LaunchConfig) -> pathlib.Path:
    if launch.out:
        return pathlib.Path(launch.out)
    parent = pathlib.Path("runs") / safe_name(experiment.name)
    unfinished = [f for f in sorted(parent.glob("*/")) if (f / "config.json").exists()]
    if launch.resume and unfinished:
        return unfinished[-1]
    return parent / datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S-%f")[:-3]
