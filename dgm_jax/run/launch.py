"""From a command line to a finished run folder.

`main` parses settings, checks them, loads data, and for each group of arms walks over the
chunks of one compiled program: a row, a picture, a checkpoint, a look at the signals. A run
that was killed continues at its newest checkpoint and ends with the same bits.
"""

import contextlib
import contextvars
import dataclasses
import datetime
import pathlib
import shlex
import sys
import time

import jax
import tyro

from dgm_jax import console, native
from dgm_jax.console import Command
from dgm_jax.core import DgmError, RunDirectoryError, tree_size
from dgm_jax.run import records, statistics
from dgm_jax.run.ablation import shared_data, without_effect
from dgm_jax.run.arms import Clock, Run, Trained, distribute, lanes_of, train_all
from dgm_jax.run.directory import SUMMARY, RunDirectory
from dgm_jax.run.experiment import Arm, Experiment, RunConfig, arms, groups, validate
from dgm_jax.run.progress import Progress
from dgm_jax.run.report import format_table, write_report
from dgm_jax.run.signals import Interrupted, watch_signals

DIVERGED = 6

_CHECK = contextvars.ContextVar("check", default=False)


def is_check() -> bool:
    """Whether `check` is what loads the data: then nothing may be trained, not even what a run
    needs first."""
    return _CHECK.get()


def main(
    experiment: Experiment,
    argv: list[str] | None = None,
    grid: dict[str, tuple] | None = None,
    command: Command | None = None,
) -> int:
    """Runs an experiment from the command line; returns the exit code.

    0 done, 2 settings, data, folder or disk that the caller can mend, 6 every seed diverged,
    130 or 143 stopped by Ctrl-C or SIGTERM after saving.
    grid: settings with the values an ablation gives them.
    command: what was typed, if it was not this experiment's own module; it is repeated in help
        texts and, for a run that was stopped, as the command that goes on.
    """
    if argv is None:
        argv = sys.argv[1:]
        command = command or console.typed((), argv)
    return console.guarded(lambda: _main(experiment, argv, grid or {}, command))


def _main(experiment: Experiment, argv, grid, command: Command | None) -> int:
    config = _parse(experiment, argv, command)
    folder = _folder(experiment, config)
    try:
        with native.use_convolutions(config.convolutions), Progress(config.progress) as progress:
            return _run(experiment, config, grid, folder, progress)
    except Interrupted as stop:
        console.tell(f"stopped by {stop}; continue {_with(command, folder)}")
        return stop.exit_code
    except DgmError as error:
        console.tell(f"error: {error}")
        return error.exit_code
    except OSError as error:
        how = _with(command, folder)
        console.tell(f"error: {error}; what was saved before is sound: continue {how}")
        return RunDirectoryError.exit_code


def _with(command: Command | None, folder) -> str:
    """How a run that has stopped goes on: the command to paste, if there was one."""
    if command is None:
        return f"with the same settings, --out {folder} --resume"
    return f"with\n  {command.resuming(folder)}"


def check(
    experiment: Experiment,
    argv: list[str] | None = None,
    grid: dict[str, tuple] | None = None,
    command: Command | None = None,
) -> int:
    """Settings, data and shapes of a run or an ablation, without training: what would be compiled,
    on what."""
    config = _parse(experiment, argv, command)
    token = _CHECK.set(True)
    try:
        with native.use_convolutions(config.convolutions):
            _check(experiment, config, grid or {})
    except DgmError as error:
        console.tell(f"error: {error}")
        return error.exit_code
    finally:
        _CHECK.reset(token)
    print("ok")
    return 0


def _check(experiment: Experiment, config: RunConfig, grid: dict[str, tuple]) -> None:
    config, grid, cells = _cells(experiment, config, grid)
    data = shared_data(experiment, config, grid)
    print(f"data: {data.identity.get('identity', data.identity.get('name', 'none'))}")
    print(
        f"devices: {jax.device_count()} x {jax.devices()[0].device_kind} ({jax.default_backend()})"
    )
    for group in groups(cells, grid, experiment.static):
        keys, hyper = lanes_of(group, config)
        compiled = distribute(experiment, config, group, data, keys, hyper)
        lanes = compiled.abstract(keys, hyper)
        sizes = {
            part: tree_size(tree) // len(keys) for part, tree in lanes.train_state.params.items()
        }
        compiled.trace(lanes, data.arrays)
        parameters = ", ".join(f"{part} {size:,}" for part, size in sizes.items())
        where = f"{len(keys)} lanes by {compiled.strategy}, {compiled.layout}"
        print(f"{group.name}: {where}; parameters: {parameters}")


def _parse(experiment: Experiment, argv, command: Command | None):
    """Flags into the configuration; tyro explains mistakes, suggests names and exits with 2."""
    program = shlex.join(command.program) if command else experiment.name
    return tyro.cli(experiment.config, args=argv, prog=program)


def _cells(
    experiment: Experiment, config: RunConfig, grid: dict[str, tuple]
) -> tuple[RunConfig, dict[str, tuple], list[Arm]]:
    """The valid cells of a run, with the settings and the grid that they come from."""
    if experiment.arm_field in grid:  # as if its flag had been given
        config = dataclasses.replace(config, **{experiment.arm_field: grid[experiment.arm_field]})
        grid = {name: values for name, values in grid.items() if name != experiment.arm_field}
    validate(experiment, config, grid)
    return config, grid, arms(experiment, config, grid)


def _run(experiment: Experiment, config: RunConfig, grid, folder, progress: Progress) -> int:
    config, grid, cells = _cells(experiment, config, grid)
    settings = dataclasses.asdict(config) | (
        {"grid": {k: list(v) for k, v in grid.items()}} if grid else {}
    )
    with RunDirectory.create(
        folder, experiment.name, settings, config.resume, notify=progress.notice
    ) as directory:
        if directory.finished:
            progress.notice(f"{folder} is finished; its report: {write_report(folder)}")
            return _exit_code(records.read_json(folder / SUMMARY))
        try:
            run, results = _train_all(experiment, config, cells, grid, directory, progress)
        except DgmError:
            directory.forget()
            raise
        for name, (figure, caption) in experiment.figures(
            [r.arm_result for r in results], run.data
        ).items():
            directory.save_figure(name, figure, caption)
        summary = _summarize(run, results)
        directory.write_summary(summary)  # last: a folder with a summary is finished
        report = write_report(folder)
    _show(experiment, summary, report)
    return _exit_code(summary)


def _show(experiment: Experiment, summary: dict, report: pathlib.Path) -> None:
    """The headline on standard output. That it cannot be written there does not undo the run."""
    chosen = {
        k: v
        for name in experiment.headline
        for k, v in summary["metrics"].items()
        if k.split("/")[-1] == name
    }
    text = [
        format_table({**summary, "metrics": chosen or summary["metrics"]}),
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
    """6 where every seed of every arm has failed, else 0."""
    total = len(summary.get("arms", ())) * summary.get("num_seeds", 0)
    return DIVERGED if total and len(summary.get("failed_seeds", ())) == total else 0


def _train_all(experiment, config, cells, grid, directory, progress) -> tuple[Run, list[Trained]]:
    clock = Clock(time.monotonic())
    with progress.phase("loading data"):
        data = shared_data(experiment, config, grid)
    directory.record_dataset(data.identity)
    run = Run(experiment, config, data, directory, progress, clock, len(cells) > 1)
    with watch_signals() as stop:
        return run, train_all(run, groups(cells, grid, experiment.static), stop)


def _folder(experiment, config) -> pathlib.Path:
    if config.out:
        return pathlib.Path(config.out)
    parent = pathlib.Path("runs") / experiment.name
    unfinished = [f for f in sorted(parent.glob("*/")) if (f / "config.json").exists()]
    if config.resume and unfinished:
        return unfinished[-1]
    return parent / datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S-%f")[:-3]


def _summarize(run: Run, results: list[Trained]) -> dict:
    """The content of summary.json."""
    clock, config = run.clock, run.config
    names = [r.arm_result.name for r in results]
    metrics, reference, failed = {}, [], []
    for r in results:
        prefix = f"{r.arm_result.name}/" if run.several_arms else ""
        metrics |= {
            prefix + name: statistics.summarize(values) for name, values in r.metrics.items()
        }
        reference += [
            {**row, "metric": prefix + row["metric"]}
            for row in run.experiment.references(r.arm_result.config)
        ]
        failed += [
            {
                "seed": seed,
                "arm": r.arm_result.name,
                "step": int(at),
                "reason": "not finite; frozen at its last state",
            }
            for seed, at in enumerate(r.failed_at)
            if at >= 0
        ]
    rank = run.experiment.rank_by
    rate = clock.seed_steps / clock.train_seconds if clock.train_seconds else None
    return {
        "experiment": run.experiment.name,
        "config": dataclasses.asdict(config),
        "arms": names,
        "num_seeds": config.num_seeds,
        "num_steps": config.num_steps,
        "wall_seconds": time.monotonic() - clock.start,
        "compile_seconds": clock.compile_seconds,
        "seed_steps_per_second": rate,
        "strategy": {r.arm_result.name: r.strategy for r in results},
        "layout": results[0].layout,
        "failed_seeds": failed,
        "metrics": metrics,
        "reference": statistics.compare_with_reference(metrics, reference),
        "differences": (
            statistics.differences_between_arms(metrics, names) if run.several_arms else []
        ),
        "notes": [
            *([statistics.ranking(metrics, names, rank)] if run.several_arms and rank else []),
            *without_effect(results, run.experiment.arm_field),
        ],
        "explanations": run.experiment.explanations,
        "dataset": run.data.identity,
        "final_params_sha256": {r.arm_result.name: r.sha256 for r in results},
    }
