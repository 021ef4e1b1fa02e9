"""From a command line to a finished run folder.

`main` parses settings, checks them, loads data, and for each group of arms walks over the
chunks of one compiled program: a row, a picture, a checkpoint, a look at the signals. A run
that was killed continues at its newest checkpoint and ends with the same bits.
"""

import contextlib
import dataclasses
import datetime
import pathlib
import signal
import sys
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from dgm_jax import training
from dgm_jax.core import DgmError, Lane, tree_sha256, tree_size
from dgm_jax.run import statistics
from dgm_jax.run.directory import RunDirectory
from dgm_jax.run.experiment import VOLATILE, Arm, ArmResult, Data, Experiment, Group, RunConfig, arms, groups, validate
from dgm_jax.run.parameters import save_parameters
from dgm_jax.run.progress import Progress
from dgm_jax.run.report import format_table, write_report
from dgm_jax.training.checkpoint import Checkpoints

DIVERGED = 6


class Interrupted(Exception):
    """A signal asked the run to stop; the state was saved at the end of the chunk."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def main(experiment: Experiment, argv: list[str] | None = None, grid: dict[str, tuple] | None = None) -> int:
    """Runs an experiment from the command line; returns the exit code.

    0 done, 2 settings, data or folder that the caller can mend, 6 every seed diverged,
    130 or 143 stopped by Ctrl-C or SIGTERM after saving.
    grid: settings with the values an ablation gives them.
    """
    config = _parse(experiment, argv)
    try:
        with Progress(config.progress) as progress:
            return _run(experiment, config, grid or {}, progress)
    except Interrupted as stop:
        print(f"stopped by {stop}; continue with --resume", file=sys.stderr)
        return stop.exit_code
    except DgmError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def check(experiment: Experiment, argv: list[str] | None = None) -> int:
    """Settings, data and shapes of a run, without training: what would be compiled, on what."""
    config = _parse(experiment, argv)
    try:
        validate(experiment, config)
        data = experiment.load(config)
        print(f"data: {data.identity.get('identity', data.identity.get('name', 'none'))}")
        print(f"devices: {jax.device_count()} x {jax.devices()[0].device_kind} ({jax.default_backend()})")
        for group in groups(arms(experiment, config)):
            keys, hyper = _lanes(group, config)
            compiled = _distribute(experiment, config, group, data, keys, hyper)
            lanes = compiled.abstract(keys, hyper)
            sizes = {part: tree_size(tree) // len(keys) for part, tree in lanes.train_state.params.items()}
            compiled.trace(lanes, data.arrays)
            parameters = ", ".join(f"{part} {size:,}" for part, size in sizes.items())
            print(f"{group.name}: {len(keys)} lanes by {compiled.strategy}, {compiled.layout}; parameters: {parameters}")
    except DgmError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("ok")
    return 0


def _parse(experiment: Experiment, argv):
    """Flags into the configuration; tyro explains mistakes, suggests names and exits with 2."""
    return tyro.cli(experiment.config, args=argv, prog=experiment.name)


def _distribute(experiment, config, group: Group, data: Data, keys, hyper):
    base = group.arms[0].config
    program = training.lane_program(lambda hyper: experiment.build(dataclasses.replace(base, **hyper), data))
    return experiment.distribute(program, keys, hyper, strategy=config.strategy, devices=config.devices)


def _run(experiment: Experiment, config: RunConfig, grid, progress: Progress) -> int:
    validate(experiment, config)
    cells = arms(experiment, config, grid)
    for cell in cells:
        experiment.validate(cell.config)
    settings = dataclasses.asdict(config) | ({"grid": {k: list(v) for k, v in grid.items()}} if grid else {})
    folder = _folder(experiment, config)
    with RunDirectory.create(
        folder, experiment.name, settings, config.resume, notify=progress.notice, volatile=VOLATILE
    ) as directory:
        if directory.finished:
            progress.notice(f"{folder} is finished; its report: {write_report(folder)}")
            return 0
        with progress.phase("loading data"):
            data = experiment.load(config)
        directory.record_dataset(data.identity)
        run = _Run(experiment, config, data, directory, progress, _Clock(time.monotonic()), len(cells) > 1)
        with _signals() as stop:
            results = [result for group in groups(cells, grid) for result in _train(run, group, stop)]
        summary = _summarize(run, results)
        directory.write_summary(summary)
        for name, (figure, caption) in experiment.figures([r.arm_result for r in results], data).items():
            directory.save_figure(name, figure, caption)
        report = write_report(folder)
    shown = {k: v for name in experiment.headline for k, v in summary["metrics"].items() if k.split("/")[-1] == name}
    shown = shown or summary["metrics"]
    print(format_table({**summary, "metrics": shown}))
    print(f"report: {report}")
    return DIVERGED if all(np.all(r.failed_at >= 0) for r in results) else 0


@dataclasses.dataclass
class _Clock:
    start: float
    compile_seconds: float = 0.0
    train_seconds: float = 0.0
    seed_steps: int = 0


class _Run(NamedTuple):
    experiment: Experiment
    config: RunConfig
    data: Data
    directory: RunDirectory
    progress: Progress
    clock: _Clock
    several_arms: bool

    @contextlib.contextmanager
    def compiling(self, what: str):
        """A phase whose seconds count as compilation."""
        start = time.monotonic()
        with self.progress.phase(f"compiling {what}"):
            yield
        self.clock.compile_seconds += time.monotonic() - start


class _Trained(NamedTuple):
    arm_result: ArmResult
    metrics: dict[str, list]  # the last row
    failed_at: np.ndarray
    sha256: str
    strategy: str
    layout: str


def _folder(experiment, config) -> pathlib.Path:
    if config.out:
        return pathlib.Path(config.out)
    parent = pathlib.Path("runs") / experiment.name
    unfinished = [f for f in sorted(parent.glob("*/")) if (f / "config.json").exists()]
    if config.resume and unfinished:
        return unfinished[-1]
    return parent / datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H%M%S-%f")[:-3]


def _lanes(group: Group, config: RunConfig):
    """Keys [L] and hyper-parameters [L] of a group: its arms one after the other, the same seeds in each."""
    root = jax.random.key(config.seed)
    keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(jnp.arange(config.num_seeds))
    keys = jnp.tile(keys, len(group.arms))
    values = {name: [getattr(arm.config, name) for arm in group.arms] for name in group.swept}
    return keys, {name: jnp.repeat(jnp.float32(jnp.array(v)), config.num_seeds) for name, v in values.items()}


def _train(run: _Run, group: Group, stop) -> list[_Trained]:
    """Trains one group of arms to the end, or continues it from its newest checkpoint."""
    config = run.config
    keys, hyper = _lanes(group, config)
    compiled = _distribute(run.experiment, config, group, run.data, keys, hyper)
    arrays = compiled.place_data(run.data.arrays)
    checkpoints = Checkpoints(run.directory.checkpoints / _plain(group.name))
    try:
        start, lanes = _start(run, group, compiled, checkpoints, keys, hyper)
        with run.compiling(f"evaluation of {group.name}"):
            evaluate = compiled.compile_evaluate(lanes, arrays)
        advance = _timed_advance(run, group, compiled)
        evaluated, metrics = None, {}
        with run.progress.training(group.name, config.num_steps, len(keys), start):
            for chunk in training.run(
                advance, lanes, arrays, start=start, num_steps=config.num_steps, chunk_steps=config.log_every
            ):
                lanes, evaluated = chunk.lanes, jax.device_get(evaluate(chunk.lanes, arrays))
                metrics = _log(run, group, chunk, evaluated)
                checkpoints.save(chunk.step, lanes)
                failed = {i: int(at) for i, at in enumerate(jax.device_get(lanes.failed_at)) if at >= 0}
                run.progress.update(chunk.step, metrics, failed)
                stop.check()
                if len(failed) == len(keys):
                    break
    finally:
        checkpoints.close()
    evaluated = jax.device_get(evaluate(lanes, arrays)) if evaluated is None else evaluated
    return _results(run, group, lanes, evaluated, compiled)


def _timed_advance(run: _Run, group: Group, compiled):
    """`advance(lanes, data, length)` that compiles each length once and counts the rest as training."""
    functions = {}

    def advance(lanes, data, length):
        if length not in functions:
            with run.compiling(f"{length} steps of {group.name} ({lanes.failed_at.size} lanes by {compiled.strategy})"):
                functions[length] = compiled.compile_advance(lanes, data, length)
        start = time.monotonic()
        out = jax.block_until_ready(functions[length](lanes, data))
        run.clock.train_seconds += time.monotonic() - start
        run.clock.seed_steps += length * lanes.failed_at.size
        return out

    return advance


def _start(run: _Run, group: Group, compiled, checkpoints, keys, hyper) -> tuple[int, Lane]:
    """The newest checkpoint, or fresh lanes; rows of metrics.jsonl past it are dropped."""
    step, lanes, notices = 0, None, []
    if run.directory.resumed:
        step, lanes, notices = checkpoints.restore_newest(compiled.abstract(keys, hyper))
        names = {arm.name for arm in group.arms}
        run.directory.truncate_rows(lambda row: row.get("arm") not in names or row["step"] <= step)
        notices.append(f"{group.name}: continuing at step {step}" if step else f"{group.name}: no checkpoint yet")
    for notice in notices:
        run.progress.notice(notice)
    if lanes is None:
        with run.compiling(f"initialisation of {group.name}"):
            lanes = jax.block_until_ready(compiled.init(keys, hyper))
    return step, lanes


def _split(group: Group, num_seeds: int, arrays) -> list[tuple[Arm, dict[str, np.ndarray]]]:
    """Arrays over lanes as one dictionary for each arm."""
    return [
        (arm, {name: np.asarray(value)[i * num_seeds : (i + 1) * num_seeds] for name, value in arrays.items()})
        for i, arm in enumerate(group.arms)
    ]


def _log(run: _Run, group: Group, chunk: training.Chunk, evaluated) -> dict[str, np.ndarray]:
    """One row for each arm, one figure for each seed, NaN for a seed that has failed."""
    seen = jax.device_get({"failed_at": chunk.lanes.failed_at, **chunk.metrics})
    training_arms = _split(group, run.config.num_seeds, seen)
    evaluated_arms = _split(group, run.config.num_seeds, evaluated)
    shown = {}
    for (arm, trained), (_, arrays) in zip(training_arms, evaluated_arms):
        well = trained.pop("failed_at") < 0
        metrics = {**run.experiment.finalise(arrays, arm.config, run.data), **trained}
        metrics = {name: np.where(well, np.asarray(value, np.float64), np.nan) for name, value in metrics.items()}
        run.directory.append_row({"step": chunk.step, "arm": arm.name, **metrics})
        result = ArmResult(arm.name, arm.config, arrays)
        for name, (figure, caption) in run.experiment.snapshots(result, run.data, chunk.step).items():
            run.directory.save_figure(f"{_plain(arm.name)}_{name}_{chunk.step:08d}", figure, caption)
        shown = shown or {name: metrics[name] for name in run.experiment.headline if name in metrics} or metrics
    return shown


def _results(run: _Run, group: Group, lanes: Lane, evaluated, compiled) -> list[_Trained]:
    last = {row["arm"]: row for row in run.directory.read_rows()}
    failed = np.asarray(jax.device_get(lanes.failed_at))
    params = jax.device_get(lanes.train_state.params)
    found = []
    for i, (arm, arrays) in enumerate(_split(group, run.config.num_seeds, evaluated)):
        mine = slice(i * run.config.num_seeds, (i + 1) * run.config.num_seeds)
        metrics = {name: value for name, value in last[arm.name].items() if name not in ("step", "arm")}
        trained = jax.tree.map(lambda x: x[mine], params)
        (run.directory.path / "parameters").mkdir(exist_ok=True)
        save_parameters(run.directory.path / "parameters" / f"{_plain(arm.name)}.npz", trained)
        result = ArmResult(arm.name, arm.config, arrays)
        found.append(_Trained(result, metrics, failed[mine], tree_sha256(trained), compiled.strategy, compiled.layout))
    return found


def _summarize(run: _Run, results: list[_Trained]) -> dict:
    """The content of summary.json."""
    clock, config = run.clock, run.config
    names = [r.arm_result.name for r in results]
    metrics, reference, failed = {}, [], []
    for r in results:
        prefix = f"{r.arm_result.name}/" if run.several_arms else ""
        metrics |= {prefix + name: statistics.summarize(values) for name, values in r.metrics.items()}
        reference += [
            {**row, "metric": prefix + row["metric"]} for row in run.experiment.references(r.arm_result.config)
        ]
        failed += [
            {"seed": seed, "arm": r.arm_result.name, "step": int(at), "reason": "not finite; frozen at its last finite state"}
            for seed, at in enumerate(r.failed_at)
            if at >= 0
        ]
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
        "differences": statistics.differences_between_arms(metrics, names) if run.several_arms else [],
        "explanations": run.experiment.explanations,
        "dataset": run.data.identity,
        "final_params_sha256": {r.arm_result.name: r.sha256 for r in results},
    }


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._=-" else "_" for c in name)


class _Stop:
    """Remembers a signal until the chunk is over; the second Ctrl-C stops at once."""

    def __init__(self):
        self.number = None

    def __call__(self, number, frame):
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number

    def check(self) -> None:
        """Raises `Interrupted` if a signal came."""
        if self.number is not None:
            raise Interrupted(self.number)


@contextlib.contextmanager
def _signals():
    stop = _Stop()
    try:
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, where Python delivers no signals
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
