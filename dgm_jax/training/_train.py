"""A whole run in one call, given a task, keys and data in memory."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from dgm_jax import parallel
from dgm_jax.core import Array, Key, Lane, PyTree, Task, require
from dgm_jax.training.loop import Chunk, lane_program, run
from dgm_jax.training.parts import in_parts


class TrainResult(NamedTuple):
    """A finished run, with a leading axis of L lanes.

    Attributes:
        lanes: the last state; `lanes.train_state.params` are the parameters by part, and
            `lanes.failed_at` [L] is the step at which a lane diverged, -1 for none.
        metrics: by name, [L, chunks]: means over the steps of each chunk.
        evaluation: by name, [L, ...]: the results of the task's `evaluate` and `conclude` at the
            end.
    """

    lanes: Lane
    metrics: dict[str, np.ndarray]
    evaluation: dict[str, np.ndarray]


def train(
    task: Task | Callable[[dict[str, Array]], Task],
    keys: Key,
    data: PyTree,
    num_steps: int,
    *,
    hyper: dict[str, Array] | None = None,
    chunk_steps: int | None = None,
    callback: Callable[[Chunk], None] | None = None,
    strategy: str = "auto",
    devices: str = "auto",
) -> TrainResult:
    """Train a task over many seeds, and over numeric hyper-parameters that differ between them.

    Args:
        task: the task, or `hyper -> Task`, where `hyper` holds one lane's numbers as scalars.
        keys: typed keys [L], one for each lane, such as `jax.random.split(jax.random.key(0), L)`.
        data: arrays that the task's `draw` and `evaluate` read; they are put on the devices once.
        num_steps: number of steps of the game.
        hyper: arrays [L] by name.
        chunk_steps: steps after which the host acts; None for all. Ctrl-C is answered within a few
            seconds, however many they are.
        callback: called with the `Chunk` after each of them. Its lanes are reused for the next
            chunk: copy what you want to keep.
        strategy: "vmap", "map" or "auto", as in `parallel.over_seeds`.
        devices: "auto", "jit" or "pmap", as in `parallel.distribute`.

    Returns:
        The last state, the metrics of every chunk and the evaluation of the last.

    Raises:
        ConfigError: for fewer than one step, keys that are not [L], hyper-parameters of another
            length, or a task that lacks what the engine needs.
    """
    require(num_steps >= 1, f"num_steps must be at least 1, got {num_steps}")
    chunk_steps = num_steps if chunk_steps is None else chunk_steps
    task_of = (lambda hyper: task) if isinstance(task, Task) else task
    require(callable(task_of), f"task must be a Task or hyper -> Task, got {type(task).__name__}")
    hyper = {} if hyper is None else hyper
    lanes_of_task = lane_program(task_of)
    program = parallel.distribute(lanes_of_task, keys, hyper, strategy=strategy, devices=devices)
    data = program.place_data(data)
    lanes = program.init(keys, hyper)
    advance = in_parts(program.compile_advance(lanes, data))
    metrics_of_chunks = []
    for chunk in run(advance, lanes, data, start=0, num_steps=num_steps, chunk_steps=chunk_steps):
        lanes = chunk.lanes
        metrics_of_chunks.append(jax.device_get(chunk.metrics))
        if callback is not None:
            callback(chunk)
    evaluate = program.compile_evaluate(lanes, data)
    evaluation = jax.device_get(evaluate(lanes, data))
    conclude = program.lower_conclude(lanes, data)
    if conclude is not None:
        evaluation |= jax.device_get(conclude.compile()(lanes, data))
    names = list(metrics_of_chunks[0])
    metrics = {name: np.stack([m[name] for m in metrics_of_chunks], axis=1) for name in names}
    return TrainResult(lanes, metrics, evaluation)
