"""From settings to a finished run folder.

A run that was killed continues at its newest checkpoint and ends with the same bits.
"""

import contextlib
import dataclasses
import datetime
import pathlib
import time
from collections.abc import Callable
from typing import NamedTuple

from dgm_jax import native
from dgm_jax.core import DgmError, RunDirectoryError, require
from dgm_jax.report import statistics, summaries
from dgm_jax.report.page import write_report
from dgm_jax.report.table import format_sweep, format_table
from dgm_jax.run import memory, stopped, unread
from dgm_jax.run.ablation import shared_inputs, variants, without_effect
from dgm_jax.run.arms import train_all
from dgm_jax.run.cells import Arm, arms, groups, validate
from dgm_jax.run.context import Clock, Run
from dgm_jax.run.experiment import Experiment, Inputs, Need
from dgm_jax.run.lanes import devices_of, require_launchable
from dgm_jax.run.models import criterion
from dgm_jax.run.needs import finished_folder, needed_experiment
from dgm_jax.run.outcomes import ArmOutcome
from dgm_jax.run.profile import Profile
from dgm_jax.run.settings import LaunchConfig, SettingsView, StudyConfig
from dgm_jax.store.directory import RunDirectory
from dgm_jax.store.reading import CONFIG, METRICS, read_environment, read_summary
from dgm_jax.store.records import safe_name
from dgm_jax.terminal import console, signals
from dgm_jax.terminal.console import Command
from dgm_jax.terminal.progress import Progress
from dgm_jax.terminal.signals import Interrupted, watch_signals

DIVERGED = 6


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
        criterion(self.launch.keep_best)
        require_launchable(self.launch)
        cells = arms(self.experiment, config, grid)
        unread.tell(self.experiment, config, grid, cells, say, refuse=not self.launch.resume)
        return self._replace(config=config, grid=grid), cells

    def settings(self) -> dict:
        """Returns the settings as config.json has them."""
        grid = {"grid": {k: list(v) for k, v in self.grid.items()}} if self.grid else {}
        return dataclasses.asdict(self.config) | grid

    def inputs(self, progress: Progress) -> Inputs:
        """Loads the data of all cells; runs of other experiments that it needs come first."""
        listed = variants(self.experiment, self.config, self.grid)
        obtain = lambda need: _or_train(need, self.launch, progress)
        needed = [folders_of(self.experiment, variant.settings, obtain) for variant in listed]
        with progress.phase("loading data"):
            return shared_inputs(self.experiment, listed, needed)


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
        convolutions = native.use_convolutions(job.launch.convolutions)
        with watch_signals() as stop, convolutions, Progress(job.launch.progress) as progress:
            stop.outlook = lambda: stopped.outlook(job.experiment, folder, command)
            stop.notify = progress.notice
            stop.close = progress.close
            job = job.resolved()
            for sentence in job.chosen:
                progress.notice(sentence)
            return _exit_code(_complete(job, folder, progress, show=True))
    except DgmError as error:
        # by the disk, which may have room again, or for want of memory, which may have so too
        refused = isinstance(error.__cause__, OSError) or memory.is_exhaustion(error.__cause__)
        how = f"; {stopped.outlook(job.experiment, folder, command)}" if refused else ""
        console.tell(f"error: {error}{how}")
        return error.exit_code
    except OSError as error:
        console.tell(f"error: {error}; {stopped.outlook(job.experiment, folder, command)}")
        return RunDirectoryError.exit_code


def folders_of(
    experiment: Experiment, settings: SettingsView, obtain: Callable[[Need], pathlib.Path | None]
) -> tuple[pathlib.Path | None, ...]:
    """The folders of all needs.

    Args:
        experiment: whose needs they are.
        settings: what `needs` reads.
        obtain: returns the folder of a need.
    """
    return tuple(obtain(need) for need in experiment.functions.needs(settings))


def _or_train(need: Need, launch: LaunchConfig, progress: Progress) -> pathlib.Path:
    """The folder of a finished run, which is trained first if it is missing."""
    finished = finished_folder(need)
    if finished is not None:
        return finished
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
    require(_exit_code(summary) == 0, f"{need.experiment} in {folder}: every seed diverged")
    return folder


def _complete(job: Job, folder: pathlib.Path, progress: Progress, show: bool = False) -> dict:
    """Trains what is left of a run; returns its summary."""
    job, cells = job.cells(say=progress.notice)
    experiment = job.experiment
    with signals.held():
        directory = RunDirectory.create(
            folder,
            experiment.name,
            job.settings(),
            job.launch.resume,
            notify=progress.notice,
            launch=dataclasses.asdict(job.launch) | ({"chosen": job.chosen} if job.chosen else {}),
        )
    with directory:
        if directory.finished:
            if not (folder / METRICS).is_file():
                progress.notice(f"{folder} has lost its {METRICS}: the report has no curves")
            progress.notice(
                f"{folder} is finished; its report: {write_report(folder, experiment.display())}"
            )
            return summaries.nested(read_summary(folder) or {})
        try:
            signals.check()
            with memory.exhaustion_told(memory.advice(job.config)):
                run, results = _train_all(job, cells, directory, progress)
                _draw(run, results)
        except (DgmError, Interrupted):
            directory.forget()
            raise
        summary = _summarize(run, results)
        with signals.held():  # what is left is short, and the run is done then
            # last: a folder with a summary is finished
            directory.write_summary(summaries.flattened(summary))
            report = write_report(folder)
            if show:
                _show(job, summary, report)
    return summary


def _draw(run: Run, results: list[ArmOutcome]) -> None:
    """Saves the final pictures of a run."""
    arm_results = [result.arm_result for result in results]
    pictures = run.experiment.functions.plots(arm_results, run.inputs)
    for name, (figure, caption) in pictures.items():
        run.directory.save_figure(name, figure, caption)


def _show(job: Job, summary: dict, report: pathlib.Path) -> None:
    """Prints the headline. If it cannot be written, the run is finished all the same."""
    experiment = job.experiment
    text = [
        format_sweep(summary, experiment.display())
        if job.grid
        else format_table(summary, experiment.headline),
        *summary["notes"],
        f"report: {report}",
    ]
    try:
        with contextlib.suppress(BrokenPipeError):  # nobody reads it
            print(*text, sep="\n", flush=True)
    except (OSError, ValueError) as error:
        console.tell(f"the run is finished, but its result cannot be shown ({error}): {report}")
    console.silence_what_is_broken()


def _exit_code(summary: dict) -> int:
    """6 if every seed of every arm has failed, else 0."""
    total = len(summary.get("arms", ())) * summary.get("num_seeds", 0)
    return DIVERGED if total and len(summary.get("failed_seeds", ())) == total else 0


def _train_all(job: Job, cells, directory, progress) -> tuple[Run, list[ArmOutcome]]:
    experiment = job.experiment
    clock = Clock(time.monotonic())
    inputs = job.inputs(progress)
    directory.compare(dataset=inputs.identity)
    names = tuple(cell.name for cell in cells)
    profile = Profile(directory.path if job.launch.profile else None, progress.notice)
    run = Run(
        experiment, job.config, job.launch, inputs, directory, progress, clock, names, profile
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


def _summarize(run: Run, results: list[ArmOutcome]) -> dict:
    """The content of summary.json, with metrics by arm."""
    clock = run.clock
    config = run.config
    rank = run.experiment.rank_by
    metrics = {r.arm_result.name: _over_seeds(r.metrics) for r in results}
    reference = [
        {**row, "arm": r.arm_result.name}
        for r in results
        for row in run.experiment.functions.references(r.arm_result.config)
    ]
    rate = clock.seed_steps / clock.train_seconds if clock.train_seconds else None
    return {
        "experiment": run.experiment.name,
        "config": dataclasses.asdict(config),
        "arms": list(metrics),
        "num_seeds": config.num_seeds,
        "num_steps": config.num_steps,
        **({"parent": run.directory.parent} if run.directory.parent else {}),
        "wall_seconds": time.monotonic() - clock.start,
        "compile_seconds": clock.compile_seconds,
        "seed_steps_per_second": rate,
        "strategy": {r.arm_result.name: r.strategy for r in results},
        "layout": results[0].layout,
        "failed_seeds": [row for r in results for row in _failed_seeds(r)],
        "metrics": metrics,
        "reference": statistics.compare_with_reference(metrics, reference),
        "differences": statistics.differences_between_arms(metrics),
        "notes": [
            *read_environment(run.directory.path).get("launch", {}).get("chosen", ()),
            *([statistics.ranking(metrics, rank)] if len(metrics) > 1 and rank else []),
            *without_effect(results, run.experiment.arm_field),
        ],
        "explanations": run.experiment.explanations,
        "display": run.experiment.display(),
        "num_parameters": {r.arm_result.name: r.num_parameters for r in results},
        "dataset": run.inputs.identity,
        "final_params_sha256": {r.arm_result.name: r.params_sha256 for r in results},
        "final_model_sha256": {r.arm_result.name: r.model_sha256 for r in results},
    }


def _over_seeds(metrics: dict[str, list]) -> dict[str, dict]:
    return {name: statistics.summarize(v) | statistics.robust(v) for name, v in metrics.items()}


def _failed_seeds(result: ArmOutcome) -> list[dict]:
    reason = "not finite; frozen at its last state"
    return [
        {"seed": seed, "arm": result.arm_result.name, "step": int(at), "reason": reason}
        for seed, at in enumerate(result.failed_at)
        if at >= 0
    ]
