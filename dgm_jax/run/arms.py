"""Trains the arms of a run: lanes are made or restored, trained chunk by chunk, logged and saved.

Arms that differ only in numbers are the lanes of one program. Everything on disk is written between
chunks, in an order that survives a kill: first the row, then the best model if one is kept, then
the checkpoint; rows past the newest checkpoint are dropped on resume. A checkpoint also contains
the row of its step, so metrics.jsonl is for readers only: no run depends on it.
"""

import time

import numpy as np

from dgm_jax import training
from dgm_jax.core import Lane
from dgm_jax.parallel import fetched
from dgm_jax.run import fitting, logged, memory, models, outcomes
from dgm_jax.run.cells import Group
from dgm_jax.run.checkpoints import GroupCheckpoints
from dgm_jax.run.context import Run
from dgm_jax.run.feeding import feed_of
from dgm_jax.run.identity import convolutions_of, usual_of
from dgm_jax.run.lanes import distribute_group, lanes_of, placement_in
from dgm_jax.run.live import LiveReport
from dgm_jax.run.outcomes import ArmOutcome
from dgm_jax.run.programs import Programs
from dgm_jax.store import records
from dgm_jax.terminal import signals
from dgm_jax.training.feeding import Feed


def train_all(run: Run, found: list[Group], stop: signals.Stop) -> list[ArmOutcome]:
    """Trains all groups, one after the other.

    Args:
        run: what is trained.
        found: the groups of arms.
        stop: hears signals.

    Returns:
        The outcomes of all arms.

    Raises:
        ConfigError: a group cannot be built, which is checked before the first group starts. Or, in
            a run from the beginning, one cannot fit into memory, which is checked before anything
            is evaluated, logged or saved.
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
        Programs(
            g,
            d,
            start,
            run.inputs.arrays,
            run.compiling,
            placement_in(run.launch, g, d, run.inputs, start),
        )
        for g, d, start in zip(found, distributed, lanes, strict=True)
    ]
    beside = fitting.Beside()
    if not run.directory.resumed:
        alongside = run.progress.alongside
        beside = fitting.beside_first_chunk(programs, run.config, run.launch, alongside)
    finished = []
    ends = []
    for group in found:
        strategy = programs[0].distributed.strategy
        with memory.exhaustion_told(memory.advice(run.config, strategy)):
            trained, *end = _train(run, programs.pop(0), stop, live, beside)
        finished += trained
        ends.append((group, *end))
    for end in ends:  # now, since rows of the first may have suffered while the last was trained
        _settle(run, *end)
    return finished


def _train(
    run: Run, programs: Programs, stop: signals.Stop, live: LiveReport, beside: fitting.Beside
) -> tuple[list[ArmOutcome], int, list[dict]]:
    """Trains one group of arms to the end, from the start or from its newest checkpoint.

    Returns its outcomes, its last step and the rows of that step.
    """
    config = run.config
    group = programs.group
    compiled = programs.distributed
    arrays = compiled.place_data(programs.placement.resident)
    folder = run.directory.checkpoints / records.safe_name(group.name)
    shapes = programs.shapes
    convolutions = convolutions_of(compiled, shapes)
    run.directory.compare(convolutions=convolutions)
    if convolutions is None and run.launch.convolutions != "auto":
        asked = f"convolutions={run.launch.convolutions}"
        run.progress.notice(f"{asked} has no effect: {group.name} has no convolutions")
    identity = run.identity.of_group(group, compiled, shapes)
    checkpoints = GroupCheckpoints(folder, identity, usual_of(config))
    try:
        start, lanes, rows = _start(run, programs, checkpoints)
        run.directory.record(dataset=run.inputs.identity, convolutions=convolutions)
        best = models.Best(run, group, lanes, start)
        # all failed: nothing to do
        end = config.num_steps if np.any(_failed_at(programs, lanes) < 0) else start
        if run.directory.resumed and start < end:
            fitting.require_fits(programs, run.config, run.launch, fresh=False)
        evaluate = _evaluation(run, programs)
        evaluated = None
        at = start
        with (
            run.progress.training(group.name, config.num_steps, programs.num_lanes, start),
            feed_of(run, programs, lanes, (start, end), stop.check) as feed,
        ):
            advance = _timed_advance(run, programs, stop, feed, beside)
            for chunk in training.run(
                advance, lanes, arrays, start=start, num_steps=end, chunk_steps=config.log_every
            ):
                evaluated = None  # nobody needs the last ones while there are new ones
                lanes = chunk.lanes
                evaluated = evaluate(lanes, arrays, chunk.step)
                rows = outcomes.log(run, group, chunk, evaluated, best)
                at = chunk.step
                best.save(chunk.step, lanes)
                checkpoints.opened.save(chunk.step, programs.turns.whole(lanes), rows)
                run.tracking.log(rows)
                failed_at = _failed_at(programs, lanes)
                failed = {i: int(at) for i, at in enumerate(failed_at) if at >= 0}
                run.progress.update(chunk.step, outcomes.shown(run, rows[0]), failed)
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
    return outcomes.outcomes_of(run, group, lanes, evaluated, compiled, rows), at, rows


def _failed_at(programs: Programs, lanes: Lane) -> np.ndarray:
    """The step at which each lane failed, or -1; without padding."""
    return fetched(lanes.failed_at)[: programs.num_lanes]


def _evaluation(run: Run, programs: Programs):
    """`(lanes, data, step) -> {name: [L, ...]}` on the host.

    After the last step the result includes the task's final evaluation.
    """
    each = programs.turns.each

    def evaluated(lanes, arrays, step):
        of = lambda program: fetched(each(lambda lanes, turn: program(lanes, arrays), lanes))
        values = of(programs.evaluate)
        evaluate_final = programs.evaluate_final
        if evaluate_final is None or step < run.config.num_steps:
            return values
        with run.progress.phase(f"final evaluation of {programs.group.name}"):
            return values | of(evaluate_final)

    return evaluated


def _timed_advance(
    run: Run, programs: Programs, stop: signals.Stop, feed: Feed | None, beside: fitting.Beside
):
    """`advance(lanes, data, length)`, whose seconds count as training.

    With a feed the steps read what it has in place of the data. The first chunk of the run is
    trained beside what it does not wait for.

    A signal ends it within a part of the chunk; the last checkpoint stays valid.
    """
    parts = None
    turns = programs.turns
    before = 0  # steps of a chunk that earlier turns have made

    def between(made):
        beside.check()
        stop.check()
        run.progress.running((before + made) // turns.count)
        run.profile.between_parts()

    def advance(lanes, data, length):
        nonlocal parts
        if parts is None:
            take = None if feed is None else feed.take
            parts = training.in_parts(programs.advance, between=between, take=take)
        else:
            run.profile.between_parts()
        chunk = parts

        def of_turn(lanes, turn):
            nonlocal before
            before = turn * length
            return chunk(lanes, data, length)

        def timed():
            start = time.monotonic()
            return turns.each(of_turn, lanes), time.monotonic() - start

        alone = not beside.waits
        start = time.monotonic()
        out, seconds = beside.train(timed)
        if not alone:
            run.progress.waited(time.monotonic() - start - seconds)
        run.clock.count(length * programs.num_lanes, seconds, alone)
        return out

    return advance


def _start(
    run: Run, programs: Programs, checkpoints: GroupCheckpoints
) -> tuple[int, Lane, list[dict]]:
    """The newest checkpoint with its rows, or fresh lanes; drops later rows of metrics.jsonl."""
    group = programs.group
    step = 0
    lanes = None
    rows = []
    if run.directory.resumed:
        step, lanes, notices = checkpoints.opened.restore_newest(programs.saved_shapes)
        if lanes is None:
            logged.require_hardly_begun(run.directory, run.config, group)
            notices = [f"{group.name}: no checkpoint yet"]
        else:
            lanes = programs.turns.placed(lanes)
            rows = checkpoints.opened.rows_at(step)
            notices.append(f"{group.name}: continuing at step {step}")
        for notice in notices:
            run.progress.notice(notice)
        _settle(run, group, step, rows)
        if lanes is None:
            fitting.require_fits(programs, run.config, run.launch, fresh=True)
    if lanes is None:
        lanes = programs.first_lanes()
    return step, lanes, rows


def _settle(run: Run, group: Group, step: int, rows: list[dict]) -> None:
    """Compares metrics.jsonl with the logged steps, and reports what was wrong with it."""
    for sentence in logged.settle(run.directory, run.config, group, run.arm_names, step, rows):
        run.progress.notice(sentence)
