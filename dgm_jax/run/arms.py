"""Trains the arms of a run: lanes are made or restored, trained chunk by chunk, logged and saved.

Arms that differ only in numbers are the lanes of one program. Everything on disk is written between
chunks, in an order that survives a kill: first the row, then the best model if one is kept, then
the checkpoint; rows past the newest checkpoint are dropped on resume. A checkpoint also contains
the row of its step, so metrics.jsonl is for readers only: no run depends on it.
"""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from dgm_jax import training
from dgm_jax.core import Lane, json_values, on_host, tree_sha256, tree_size
from dgm_jax.run import estimate, logged, memory, models
from dgm_jax.run.cells import Arm, Group
from dgm_jax.run.experiment import ArmResult, Experiment, Inputs
from dgm_jax.run.identity import RunIdentity, convolutions_of
from dgm_jax.run.lanes import distribute_group, lanes_of
from dgm_jax.run.live import LiveReport
from dgm_jax.run.profile import Profile
from dgm_jax.run.programs import Programs
from dgm_jax.run.settings import LaunchConfig, StudyConfig
from dgm_jax.store import records
from dgm_jax.store.directory import RunDirectory
from dgm_jax.terminal import signals
from dgm_jax.terminal.progress import Progress
from dgm_jax.training.checkpoint import Checkpoints


@dataclasses.dataclass
class Clock:
    """How the time of a run was spent.

    Attributes:
        start: the monotonic clock at the start, in seconds.
        compile_seconds: spent on compilation.
        train_seconds: spent on training.
        seed_steps: steps made, summed over lanes.
    """

    start: float
    compile_seconds: float = 0.0
    train_seconds: float = 0.0
    seed_steps: int = 0


class Run(NamedTuple):
    """What every step of a run needs.

    Attributes:
        experiment, config, launch: what is run, and how.
        inputs: the data.
        directory: the run folder.
        progress: the display.
        clock: how the time was spent.
        arm_names: all arms of the run.
        profile: the trace of some steps.
    """

    experiment: Experiment
    config: StudyConfig
    launch: LaunchConfig
    inputs: Inputs
    directory: RunDirectory
    progress: Progress
    clock: Clock
    arm_names: tuple[str, ...]
    profile: Profile

    @property
    def identity(self) -> RunIdentity:
        """What the run's checkpoints carry."""
        folder = self.directory
        return RunIdentity(folder.run_id, self.experiment.name, folder.config, self.inputs.identity)

    @contextlib.contextmanager
    def compiling(self, what: str) -> Iterator[None]:
        """A phase whose seconds count as compilation.

        Args:
            what: what is compiled, for the display.
        """
        start = time.monotonic()
        with self.progress.phase(f"compiling {what}"):
            yield
        self.clock.compile_seconds += time.monotonic() - start
        signals.check()


class ArmOutcome(NamedTuple):
    """A finished arm, and how it was trained.

    Attributes:
        arm_result: settings and evaluation.
        metrics: the last row, {metric: one number for each seed}.
        failed_at: int[S], the step at which a seed failed, or -1.
        params_sha256: hash of the parameters.
        model_sha256: hash of parameters and model state.
        num_parameters: of one seed.
        strategy: how lanes shared a device.
        layout: how lanes were distributed over devices.
    """

    arm_result: ArmResult
    metrics: dict[str, list]
    failed_at: np.ndarray
    params_sha256: str
    model_sha256: str
    num_parameters: int
    strategy: str
    layout: str


def train_all(run: Run, found: list[Group], stop: signals.Stop) -> list[ArmOutcome]:
    """Trains all groups, one after the other.

    Args:
        run: what is trained.
        found: the groups of arms.
        stop: hears signals.

    Returns:
        The outcomes of all arms.

    Raises:
        ConfigError: a group cannot be built or, in a run from the beginning, cannot fit into
            memory. Both are checked before the first group starts.
    """
    models.require_as_started(run.directory, run.launch.keep_best)
    live = LiveReport(run.experiment, run.config, run.launch, run.directory, run.progress)
    lanes = [lanes_of(group, run.config) for group in found]
    distributed = [
        distribute_group(run.experiment, run.launch, g, run.inputs, *start)
        for g, start in zip(found, lanes, strict=True)
    ]
    run.progress.plan([(len(g.arms), len(keys)) for g, (keys, _) in zip(found, lanes, strict=True)])
    programs = [
        Programs(g, d, start, run.inputs.arrays, run.compiling)
        for g, d, start in zip(found, distributed, lanes, strict=True)
    ]
    if not run.directory.resumed:
        estimate.require_all_fit(programs, run.config, run.launch)
    outcomes = []
    ends = []
    for group in found:
        strategy = programs[0].distributed.strategy
        with memory.exhaustion_told(memory.advice(run.config, strategy)):
            trained, *end = _train(run, programs.pop(0), stop, live)
        outcomes += trained
        ends.append((group, *end))
    for end in ends:  # now, since rows of the first may have suffered while the last was trained
        _settle(run, *end)
    return outcomes


def _train(
    run: Run, programs: Programs, stop: signals.Stop, live: LiveReport
) -> tuple[list[ArmOutcome], int, list[dict]]:
    """Trains one group of arms to the end, from the start or from its newest checkpoint.

    Returns its outcomes, its last step and the rows of that step.
    """
    config = run.config
    group = programs.group
    compiled = programs.distributed
    arrays = compiled.place_data(run.inputs.arrays)
    folder = run.directory.checkpoints / records.safe_name(group.name)
    shapes = programs.shapes
    convolutions = convolutions_of(compiled, shapes)
    run.directory.compare(convolutions=convolutions)
    if convolutions is None and run.launch.convolutions != "auto":
        asked = f"convolutions={run.launch.convolutions}"
        run.progress.notice(f"{asked} has no effect: {group.name} has no convolutions")
    checkpoints = Checkpoints(folder, run.identity.of_group(group, compiled, shapes))
    try:
        start, lanes, rows = _start(run, programs, checkpoints)
        run.directory.record(dataset=run.inputs.identity, convolutions=convolutions)
        best = models.Best(run, group, lanes, start)
        # all failed: nothing to do
        end = config.num_steps if np.any(jax.device_get(lanes.failed_at) < 0) else start
        if run.directory.resumed and start < end:
            estimate.require_fits(programs, run.config, run.launch, fresh=False)
        evaluate = _evaluation(run, programs)
        advance = _timed_advance(run, programs, stop)
        evaluated = None
        at = start
        with run.progress.training(group.name, config.num_steps, programs.num_lanes, start):
            for chunk in training.run(
                advance, lanes, arrays, start=start, num_steps=end, chunk_steps=config.log_every
            ):
                evaluated = None  # nobody needs the last ones while there are new ones
                lanes = chunk.lanes
                evaluated = evaluate(lanes, arrays, chunk.step)
                rows = _log(run, group, chunk, evaluated, best)
                at = chunk.step
                best.save(chunk.step, lanes)
                checkpoints.save(chunk.step, lanes, rows)
                failed = {
                    i: int(at) for i, at in enumerate(jax.device_get(lanes.failed_at)) if at >= 0
                }
                run.progress.update(chunk.step, _shown(run, rows[0]), failed)
                live.update(chunk.step)
                stop.check()
                if len(failed) == programs.num_lanes:
                    break
    finally:
        run.profile.end()
        checkpoints.close()
    # nothing was left to train, or all seeds failed on the way
    if evaluated is None or at < config.num_steps:
        evaluated = evaluate(lanes, arrays, config.num_steps)
    return _results(run, group, lanes, evaluated, compiled, rows), at, rows


def _evaluation(run: Run, programs: Programs):
    """`(lanes, data, step) -> {name: [L, ...]}` on the host.

    After the last step the result includes the task's conclusion.
    """
    evaluate = programs.evaluate
    conclude = programs.conclude

    def evaluated(lanes, arrays, step):
        values = on_host(evaluate(lanes, arrays))
        if conclude is None or step < run.config.num_steps:
            return values
        with run.progress.phase(f"final evaluation of {programs.group.name}"):
            return values | on_host(conclude(lanes, arrays))

    return evaluated


def _timed_advance(run: Run, programs: Programs, stop: signals.Stop):
    """`advance(lanes, data, length)`, whose seconds count as training.

    A signal ends it within a part of the chunk; the last checkpoint stays valid.
    """
    parts = None

    def between(made):
        stop.check()
        run.progress.running(made)
        run.profile.between_parts()

    def advance(lanes, data, length):
        nonlocal parts
        if parts is None:
            parts = training.in_parts(programs.advance, between=between)
        else:
            run.profile.between_parts()
        start = time.monotonic()
        out = parts(lanes, data, length)
        run.clock.train_seconds += time.monotonic() - start
        run.clock.seed_steps += length * programs.num_lanes
        return out

    return advance


def _start(run: Run, programs: Programs, checkpoints: Checkpoints) -> tuple[int, Lane, list[dict]]:
    """The newest checkpoint with its rows, or fresh lanes; drops later rows of metrics.jsonl."""
    group = programs.group
    step = 0
    lanes = None
    rows = []
    if run.directory.resumed:
        step, lanes, notices = checkpoints.restore_newest(programs.shapes)
        if lanes is None:
            logged.require_hardly_begun(run.directory, run.config, group)
            notices = [f"{group.name}: no checkpoint yet"]
        else:
            rows = checkpoints.rows_at(step)
            notices.append(f"{group.name}: continuing at step {step}")
        for notice in notices:
            run.progress.notice(notice)
        _settle(run, group, step, rows)
        if lanes is None:
            estimate.require_fits(programs, run.config, run.launch, fresh=True)
    if lanes is None:
        lanes = jax.block_until_ready(programs.first_lanes())
    return step, lanes, rows


def _settle(run: Run, group: Group, step: int, rows: list[dict]) -> None:
    """Compares metrics.jsonl with the logged steps, and reports what was wrong with it."""
    for sentence in logged.settle(run.directory, run.config, group, run.arm_names, step, rows):
        run.progress.notice(sentence)


def _split(group: Group, num_seeds: int, arrays) -> list[tuple[Arm, dict[str, np.ndarray]]]:
    """Arrays over lanes as one dictionary for each arm."""
    return [
        (
            arm,
            {
                name: np.asarray(value)[i * num_seeds : (i + 1) * num_seeds]
                for name, value in arrays.items()
            },
        )
        for i, arm in enumerate(group.arms)
    ]


def _log(run: Run, group: Group, chunk: training.Chunk, evaluated, best: models.Best) -> list[dict]:
    """Writes one row for each arm: one number for each seed, null for a seed that has failed."""
    trained_values = jax.device_get({"failed_at": chunk.lanes.failed_at, **chunk.metrics})
    training_arms = _split(group, run.config.num_seeds, trained_values)
    evaluated_arms = _split(group, run.config.num_seeds, evaluated)
    rows = []
    for (arm, trained), (_, arrays) in zip(training_arms, evaluated_arms, strict=True):
        finite = trained.pop("failed_at") < 0
        metrics = {**trained, **run.experiment.functions.finalise(arrays, arm.config, run.inputs)}
        metrics = {
            name: np.where(finite, np.asarray(value, np.float64), np.nan)
            for name, value in metrics.items()
        }
        best.observe(arm.name, metrics)
        row = json_values.plain({"step": chunk.step, "arm": arm.name, **metrics}, "row")
        rows.append(row)
        run.directory.append_row(row)
        result = ArmResult(arm.name, arm.config, arrays)
        for name, (figure, caption) in run.experiment.functions.snapshots(
            result, run.inputs, chunk.step
        ).items():
            run.directory.save_figure(
                f"{records.safe_name(arm.name)}_{name}_{chunk.step:08d}", figure, caption
            )
    return rows


def _metrics(row: dict) -> dict[str, list]:
    return {name: value for name, value in row.items() if name not in ("step", "arm")}


def _shown(run: Run, row: dict) -> dict[str, np.ndarray]:
    """What progress shows of a row: the headline, or everything; NaN for a seed that has failed."""
    metrics = _metrics(row)
    headline = {name: metrics[name] for name in run.experiment.headline if name in metrics}
    return {name: np.array(v, np.float64) for name, v in (headline or metrics).items()}


def _results(
    run: Run, group: Group, lanes: Lane, evaluated, compiled, rows: list[dict]
) -> list[ArmOutcome]:
    last = {row["arm"]: row for row in rows}
    failed, steps = (
        np.asarray(jax.device_get(x)) for x in (lanes.failed_at, lanes.train_state.step)
    )
    outcomes = []
    for i, (arm, arrays) in enumerate(_split(group, run.config.num_seeds, evaluated)):
        of_arm = slice(i * run.config.num_seeds, (i + 1) * run.config.num_seeds)
        metrics = _metrics(last[arm.name])
        tree = models.tree_of(lanes, i, run.config.num_seeds)
        models.save(run, arm, models.LAST, tree, step=steps[of_arm])
        result = ArmResult(arm.name, arm.config, arrays)
        hashes = tree_sha256(tree["params"]), tree_sha256(tree)
        size = tree_size(tree["params"]) // run.config.num_seeds
        how = compiled.strategy, compiled.layout
        outcomes.append(ArmOutcome(result, metrics, failed[of_arm], *hashes, size, *how))
    return outcomes
