"""A run as chunks of compiled steps.

`lane_program` turns a task into the pure functions of one lane; `parallel.distribute`
compiles them for many lanes and devices; `run` walks over the chunks. The host acts
only between chunks: it logs, saves, draws and looks at signals. `run` is a generator,
so what happens between chunks is the body of the caller's `for` loop.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import (
    SOLO,
    Array,
    Lane,
    LaneProgram,
    Metrics,
    PyTree,
    Replica,
    StepInfo,
    Sums,
    Task,
    TrainState,
    all_finite,
    float_type,
    require,
    select_tree,
)


class Chunk(NamedTuple):
    """What the host sees after each chunk."""

    step: int  # steps made so far
    lanes: Lane  # with a leading axis of lanes
    metrics: dict[str, Array]  # [lanes] each: means over the chunk's steps


def lane_program(task_of) -> LaneProgram:
    """The run of one lane from `task_of(hyper) -> Task`.

    `hyper` holds this lane's numeric hyper-parameters as scalars, traced where lanes differ.
    """

    def init(key, hyper):
        task = task_of(hyper)
        key_params, key_train, key_eval = jax.random.split(key, 3)
        found = task.init(key_params)
        fits = (
            isinstance(found, tuple)
            and len(found) == 2
            and all(isinstance(part, dict) for part in found)
        )
        require(
            fits,
            f"Task.init must return (params, state), two dictionaries by part; got {_kinds(found)}",
        )
        params, state = found
        train_state = task.algorithm(SOLO).init(key_train, params, state)
        return Lane(train_state, jnp.int32(-1), key_eval, hyper)

    def advance(lane, data, num_steps, replica):
        lane, _, metrics = advance_lane(task_of(lane.hyper), lane, data, num_steps, replica)
        return lane, metrics

    def advance_part(lane, sums, data, num_steps, last, replica):
        return advance_lane(task_of(lane.hyper), lane, data, num_steps, replica, sums, last)

    def no_sums(lane, data):
        return _no_sums(_one_step(task_of(lane.hyper), data, SOLO), lane)

    def evaluate(lane, data):
        found = task_of(lane.hyper).evaluate(lane.train_state, data, lane.eval_key)
        require(
            isinstance(found, dict),
            f"Task.evaluate must return a dictionary by metric; got {_kinds(found)}",
        )
        return found

    def conclude(lane, data):
        task = task_of(lane.hyper)
        return task.conclude(lane.train_state, data, lane.eval_key) if task.conclude else {}

    return LaneProgram(init, advance, advance_part, no_sums, evaluate, conclude)


def advance_lane(
    task: Task,
    lane: Lane,
    data: PyTree,
    num_steps: int | Array,
    replica: Replica,
    sums: Sums | None = None,
    last: bool | Array = True,
) -> tuple[Lane, Sums, Metrics]:
    """`num_steps` guarded steps under one loop; metrics are means over the steps of a well lane.

    A step whose parameters, model state or losses are not finite is not taken: the lane
    stays at its last finite state for the rest of the run, and `failed_at` says which
    step it was. After the last step of a chunk the optimizers' arrays must be finite too: Adam
    with an infinite second moment never moves again, though its parameters stay finite. Nothing
    here looks across lanes, so the others do not notice.

    A chunk may be made in parts, each going on from the lane and the sums of the one before. By
    one program with a traced number of steps the parts have the bits of the whole.

    Args:
        task: what is trained.
        lane: where it stands.
        data: arrays for the task.
        num_steps: an int, or a traced int32[].
        replica: how this device takes part in a batch.
        sums: of the chunk's steps before these; None at its beginning.
        last: whether the chunk ends with these steps; may be traced.

    Returns:
        The lane, the sums and the means over the chunk's steps so far.
    """
    step = _one_step(task, data, replica)

    def body(_, carry):
        lane, sums = carry
        now = lane.train_state
        new, losses, metrics = step(now)
        well = lane.failed_at < 0
        taken = well & all_finite((new.params, new.state, losses))
        kept = _select_state(taken, new, now)
        failed_at = jnp.where(well & ~taken, now.step, lane.failed_at)
        totals = jax.tree.map(
            lambda total, value: jnp.where(taken, total + value, total), sums.totals, metrics
        )
        lane = Lane(kept, failed_at, lane.eval_key, lane.hyper)
        return lane, Sums(totals, sums.count + taken)

    so_far = _no_sums(step, lane) if sums is None else sums
    lane, so_far = jax.lax.fori_loop(0, num_steps, body, (lane, so_far))
    stuck = last & (lane.failed_at < 0) & ~_finite_arrays(lane.train_state.opt_state)
    lane = lane._replace(failed_at=jnp.where(stuck, lane.train_state.step - 1, lane.failed_at))
    totals, count = so_far
    means = jax.tree.map(lambda total: _mean(total, count), totals)
    return lane, so_far, means


def _no_sums(step, lane: Lane) -> Sums:
    """The sums at the beginning of a chunk."""
    _, _, shapes = jax.eval_shape(step, lane.train_state)
    arrays = {name: shape.shape for name, shape in shapes.items() if shape.shape}
    require(not arrays, f"metrics of a loss must be scalars, got shapes {arrays}")
    zeros = {name: jnp.zeros((), float_type(shape)) for name, shape in shapes.items()}
    return Sums(zeros, jnp.int32(0))


def _one_step(task: Task, data: PyTree, replica: Replica):
    """`train_state -> (the next one, losses, what is recorded of the step)`."""
    require(
        not (replica.splits_batch and task.batch_coupling),
        "devices='pmap' averages gradients of per-device batches, but this objective couples its"
        f" batch ({task.batch_coupling}); use devices='jit'",
    )
    algorithm = task.algorithm(replica)

    # Traced once: its shapes are asked for, and the loop takes the same trace.
    @functools.partial(jax.jit, inline=True)
    def step(now):
        def draw(index):
            return replica.place(task.draw(data, now.data_key, index))

        new, info = _checked(algorithm.step(now, draw))
        return new, info.losses, _recorded(info)

    return step


def _mean(total: Array, count: Array) -> Array:
    """total / count, NaN for a count of 0 and only then, or `jax_debug_nans` would find the
    constant."""
    unless = jnp.where(count > 0, 0, jnp.inf).astype(total.dtype)
    return jnp.where(count > 0, total / jnp.maximum(count, 1), unless - unless)


def _checked(found) -> tuple[TrainState, StepInfo]:
    """What an algorithm's step returned; ConfigError for anything but a state and a `StepInfo`."""
    fits = isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], StepInfo)
    require(
        fits,
        f"Algorithm.step must return (train_state, StepInfo(losses, metrics)); got {_kinds(found)}",
    )
    return found


LOSS = "loss"  # the name of a player's loss among its metrics


def _recorded(info: StepInfo) -> Metrics:
    """Losses and metrics of a step under the names that a run records, `player.metric`."""
    taken = sorted(player for player, metrics in info.metrics.items() if LOSS in metrics)
    require(
        not taken,
        f"players {taken} report a metric {LOSS!r}, which is the name of a player's own loss in the"
        " records: give the metric another name",
    )
    recorded = {f"{player}.{LOSS}": loss for player, loss in info.losses.items()}
    for player, metrics in info.metrics.items():
        recorded |= {f"{player}.{name}": value for name, value in metrics.items()}
    return recorded


def _kinds(found) -> str:
    """What it is, in a word; for a tuple, what its items are."""
    return (
        f"({', '.join(type(x).__name__ for x in found)})"
        if type(found) is tuple
        else type(found).__name__
    )


def _finite_arrays(opt_state: PyTree) -> Array:
    """Whether all arrays of the optimizers are finite; scalars may not be, some start at
    infinity."""
    return all_finite([x for x in jax.tree.leaves(opt_state) if x.ndim > 0])


def _select_state(taken, new, now):
    """The new state where it is taken; keys never change, so they need no choice."""
    chosen = select_tree(
        taken,
        (new.step, new.params, new.state, new.opt_state),
        (now.step, now.params, now.state, now.opt_state),
    )
    step, params, state, opt_state = chosen
    return now._replace(step=step, params=params, state=state, opt_state=opt_state)


def run(
    advance, lanes: Lane, data: PyTree, *, start: int, num_steps: int, chunk_steps: int
) -> Iterator[Chunk]:
    """Yields a `Chunk` after every `chunk_steps` steps until `num_steps` are made.

    advance: `(lanes, data, num_steps) -> (lanes, metrics)`, compiled over lanes; it may donate
    the lanes, so use only those of the newest chunk.
    start: steps already in `lanes`. Chunks end at multiples of `chunk_steps`, so a run that
    was resumed has the same chunks as one that was not.
    """
    require(num_steps >= 1, f"num_steps must be at least 1, got {num_steps}")
    require(chunk_steps >= 1, f"chunk_steps must be at least 1, got {chunk_steps}")
    step = start
    while step < num_steps:
        length = min(chunk_steps - step % chunk_steps, num_steps - step)
        lanes, metrics = advance(lanes, data, length)
        step += length
        yield Chunk(step, lanes, metrics)
