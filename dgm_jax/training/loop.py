"""A run as chunks of compiled steps.

`lane_program` turns a task into the pure functions of one lane; `parallel.distribute` compiles them
for many lanes and devices; `run` iterates over the chunks. The host acts only between chunks: it
logs, saves, plots and handles signals. `run` is a generator, so what happens between chunks is the
body of the caller's `for` loop.
"""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp

from dgm_jax.core import (
    SOLO,
    Array,
    Key,
    Lane,
    LaneProgram,
    Metrics,
    PyTree,
    Replica,
    Stream,
    Sums,
    Task,
    TrainState,
    all_finite,
    float_type,
    require,
    select_tree,
)
from dgm_jax.training.reports import checked, kinds, recorded

TaskOf = Callable[[dict[str, Array]], Task]
# A training state -> the next one, losses, and what is recorded of the step.
GuardedStep = Callable[[TrainState], tuple[TrainState, Metrics, Metrics]]


class Chunk(NamedTuple):
    """What the host gets after each chunk.

    Attributes:
        step: number of steps made so far.
        lanes: the lanes, with a leading axis.
        metrics: by name, [lanes]: means over the chunk's steps.
    """

    step: int
    lanes: Lane
    metrics: dict[str, Array]


def lane_program(task_of: TaskOf) -> LaneProgram:
    """Make the run of one lane from its task.

    Args:
        task_of: `hyper -> Task`, where `hyper` holds this lane's numeric hyper-parameters as
            scalars, traced if lanes differ.

    Returns:
        The pure functions of the run, which raise ConfigError if the task does not return what it
        must.
    """

    def advance(lane: Lane, data: PyTree, num_steps: int, replica: Replica) -> tuple[Lane, Metrics]:
        lane, _, metrics = advance_lane(task_of(lane.hyper), lane, data, num_steps, replica)
        return lane, metrics

    def advance_part(
        lane: Lane,
        sums: Sums,
        data: PyTree,
        num_steps: int | Array,
        last: bool | Array,
        replica: Replica,
    ) -> tuple[Lane, Sums, Metrics]:
        return advance_lane(task_of(lane.hyper), lane, data, num_steps, replica, sums, last)

    def no_sums(lane: Lane, data: PyTree) -> Sums:
        return _no_sums(_one_step(task_of(lane.hyper), data, SOLO), lane)

    def evaluate_final(lane: Lane, data: PyTree) -> Metrics:
        task = task_of(lane.hyper)
        if task.evaluate_final is None:
            return {}
        return task.evaluate_final(lane.train_state, data, lane.eval_key)

    def stream(hyper: dict[str, Array]) -> Stream:
        task = task_of(hyper)
        return Stream(task.draw, task.algorithm(SOLO).num_batches)

    return LaneProgram(
        init=lambda key, hyper: _init_lane(task_of(hyper), key, hyper),
        advance=advance,
        advance_part=advance_part,
        no_sums=no_sums,
        evaluate=lambda lane, data: _evaluate(task_of(lane.hyper), lane, data),
        evaluate_final=evaluate_final,
        stream=stream,
    )


def _init_lane(task: Task, key: Key, hyper: dict[str, Array]) -> Lane:
    """A lane before its first step."""
    key_params, key_train, key_eval = jax.random.split(key, 3)
    parts = task.init(key_params)
    fits = (
        isinstance(parts, tuple)
        and len(parts) == 2
        and all(isinstance(part, dict) for part in parts)
    )
    require(
        fits,
        f"Task.init must return (params, state), two dictionaries by part; got {kinds(parts)}",
    )
    params, state = parts
    train_state = task.algorithm(SOLO).init(key_train, params, state)
    return Lane(train_state, jnp.int32(-1), key_eval, hyper)


def _evaluate(task: Task, lane: Lane, data: PyTree) -> Metrics:
    """The task's evaluation of a lane."""
    metrics = task.evaluate(lane.train_state, data, lane.eval_key)
    require(
        isinstance(metrics, dict),
        f"Task.evaluate must return a dictionary by metric; got {kinds(metrics)}",
    )
    return metrics


def advance_lane(
    task: Task,
    lane: Lane,
    data: PyTree,
    num_steps: int | Array,
    replica: Replica,
    sums: Sums | None = None,
    last: bool | Array = True,
) -> tuple[Lane, Sums, Metrics]:
    """Make guarded steps under one loop; metrics are averaged over the steps of running lanes.

    A step whose parameters, model state or losses are not finite is not taken: the lane keeps its
    last finite state for the rest of the run, and `failed_at` records which step it was. After the
    last step of a chunk the optimizers' arrays must be finite too: Adam with an infinite second
    moment never moves again, though its parameters stay finite. Nothing here looks across lanes, so
    the other lanes are not affected.

    A chunk may be made in parts, each continuing from the lane and the sums of the one before. By
    one program with a traced number of steps the parts have the bits of the whole.

    Args:
        task: what is trained.
        lane: its present state.
        data: arrays for the task.
        num_steps: an int, or a traced int32[].
        replica: how this device takes part in a batch.
        sums: of the chunk's earlier steps; None at its beginning.
        last: whether the chunk ends with these steps; may be traced.

    Returns:
        The lane, the sums, and the means over the chunk's steps so far.
    """
    step = _one_step(task, data, replica)

    def body(_: Array, carry: tuple[Lane, Sums]) -> tuple[Lane, Sums]:
        lane, sums = carry
        now = lane.train_state
        new, losses, metrics = step(now)
        is_running = lane.failed_at < 0
        taken = is_running & all_finite((new.params, new.state, losses))
        kept = _select_state(taken, new, now)
        failed_at = jnp.where(is_running & ~taken, now.step, lane.failed_at)
        totals = jax.tree.map(
            lambda total, value: jnp.where(taken, total + value, total), sums.totals, metrics
        )
        lane = Lane(kept, failed_at, lane.eval_key, lane.hyper)
        return lane, Sums(totals, sums.count + taken)

    so_far = _no_sums(step, lane) if sums is None else sums
    lane, so_far = jax.lax.fori_loop(0, num_steps, body, (lane, so_far))
    stuck = last & (lane.failed_at < 0) & ~_finite_arrays(lane.train_state.opt_state)
    failed_at = jnp.where(stuck, lane.train_state.step - 1, lane.failed_at)
    lane = lane._replace(failed_at=failed_at)
    means = jax.tree.map(lambda total: _mean(total, so_far.count), so_far.totals)
    return lane, so_far, means


def _no_sums(step: GuardedStep, lane: Lane) -> Sums:
    """The sums at the beginning of a chunk."""
    _, _, shapes = jax.eval_shape(step, lane.train_state)
    arrays = {name: shape.shape for name, shape in shapes.items() if shape.shape}
    require(not arrays, f"metrics of a loss must be scalars, got shapes {arrays}")
    zeros = {name: jnp.zeros((), float_type(shape)) for name, shape in shapes.items()}
    return Sums(zeros, jnp.int32(0))


def _one_step(task: Task, data: PyTree, replica: Replica) -> GuardedStep:
    """One step of a task's algorithm."""
    coupled = f"but this objective couples its batch ({task.batch_coupling})"
    require(
        not (replica.splits_batch and task.batch_coupling),
        f"devices='pmap' averages gradients of per-device batches, {coupled}; use devices='jit'",
    )
    require(
        replica.microbatches == 1 or not task.batch_coupling,
        f"microbatches={replica.microbatches} averages gradients of parts of a batch, {coupled};"
        " use microbatches=1",
    )
    algorithm = task.algorithm(replica)

    # Under jit, so that `_no_sums` and the loop share one trace.
    @functools.partial(jax.jit, inline=True)
    def step(now: TrainState) -> tuple[TrainState, Metrics, Metrics]:
        def draw(index: Array | int, /) -> PyTree:
            return replica.place(task.draw(data, now.data_key, cast(Array, index)))

        new, info = checked(algorithm.step(now, draw))
        return new, info.losses, recorded(info)

    return step


def _mean(total: Array, count: Array) -> Array:
    """total / count, or NaN for a count of 0.

    The NaN is made as inf - inf: as a constant it would stop `jax_debug_nans` for every count.
    """
    zero_or_inf = jnp.where(count > 0, 0, jnp.inf).astype(total.dtype)
    return jnp.where(count > 0, total / jnp.maximum(count, 1), zero_or_inf - zero_or_inf)


def _finite_arrays(opt_state: PyTree) -> Array:
    """Whether all arrays of the optimizers are finite; some scalars are infinite at the start."""
    return all_finite([x for x in jax.tree.leaves(opt_state) if x.ndim > 0])


def _select_state(taken: Array, new: TrainState, now: TrainState) -> TrainState:
    """The new state if the step is taken; keys never change, so they need no choice."""
    chosen = select_tree(
        taken,
        (new.step, new.params, new.state, new.opt_state),
        (now.step, now.params, now.state, now.opt_state),
    )
    step, params, state, opt_state = chosen
    return now._replace(step=step, params=params, state=state, opt_state=opt_state)


def run(
    advance: Callable[[Lane, PyTree, int], tuple[Lane, Metrics]],
    lanes: Lane,
    data: PyTree,
    *,
    start: int,
    num_steps: int,
    chunk_steps: int,
) -> Iterator[Chunk]:
    """Make steps, and yield a `Chunk` after every `chunk_steps` of them.

    Chunks end at multiples of `chunk_steps`, so a resumed run has the same chunks as one that was
    not interrupted.

    Args:
        advance: `(lanes, data, num_steps) -> (lanes, metrics)`, compiled over lanes. It may donate
            the lanes, so use only those of the newest chunk.
        lanes: the lanes at step `start`.
        data: arrays for the task.
        start: number of steps already made.
        num_steps: number of steps after which the run ends.
        chunk_steps: steps of a chunk.

    Yields:
        The chunks.

    Raises:
        ConfigError: for less than one step, or chunks of less than one.
    """
    require(num_steps >= 1, f"num_steps must be at least 1, got {num_steps}")
    require(chunk_steps >= 1, f"chunk_steps must be at least 1, got {chunk_steps}")
    step = start
    while step < num_steps:
        length = min(chunk_steps - step % chunk_steps, num_steps - step)
        lanes, metrics = advance(lanes, data, length)
        step += length
        yield Chunk(step, lanes, metrics)
