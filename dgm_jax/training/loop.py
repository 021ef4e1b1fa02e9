"""A run as chunks of compiled steps.

`lane_program` turns a task into the pure functions of one lane; `parallel.distribute` compiles them
for many lanes and devices; `run` iterates over the chunks. The host acts only between chunks: it
logs, saves, plots and handles signals. `run` is a generator, so what happens between chunks is the
body of the caller's `for` loop.
"""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

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
    require,
)
from dgm_jax.training import attempts, steps
from dgm_jax.training.attempts import Step
from dgm_jax.training.reports import kinds

TaskOf = Callable[[dict[str, Array]], Task]


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

    @functools.cache
    def traced_once(replica: Replica) -> Callable[..., tuple[TrainState, Metrics, Metrics]]:
        # One function, so that JAX traces it once for `no_sums` and the program of the steps.
        def step(
            now: TrainState, hyper: dict[str, Array], data: PyTree
        ) -> tuple[TrainState, Metrics, Metrics]:
            return steps.one_step(task_of(hyper), data, replica)(now)

        return jax.jit(step)

    def step_of(lane: Lane, data: PyTree, replica: Replica) -> Step:
        return lambda now: traced_once(replica)(now, lane.hyper, data)

    def advance(lane: Lane, data: PyTree, num_steps: int, replica: Replica) -> tuple[Lane, Metrics]:
        task = task_of(lane.hyper)
        lane, _, metrics = steps.advance_lane(task, lane, data, num_steps, replica)
        return lane, metrics

    def advance_part(
        lane: Lane,
        sums: Sums,
        data: PyTree,
        num_steps: int | Array,
        last: bool | Array,
        replica: Replica,
    ) -> tuple[Lane, Sums, Metrics]:
        return steps.make_steps(step_of(lane, data, replica), lane, num_steps, sums, last)

    def try_part(
        lane: Lane, sums: Sums, data: PyTree, num_steps: Array, replica: Replica
    ) -> tuple[TrainState, Sums, Array]:
        step = step_of(lane, data, replica)
        return attempts.try_steps(step, lane.train_state, sums, num_steps)

    def no_sums(lane: Lane, data: PyTree, replica: Replica = SOLO) -> Sums:
        return steps.no_sums(step_of(lane, data, replica), lane)

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
        try_part=try_part,
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
