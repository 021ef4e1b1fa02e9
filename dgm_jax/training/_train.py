"""A whole run in one call, for one who has a task, keys and data in memory."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import jax
import numpy as np

from dgm_jax import parallel
from dgm_jax.core import Array, Key, Lane, PyTree, Task, checks, described, on_host, require
from dgm_jax.training.loop import Chunk, lane_program, run
from dgm_jax.training.parts import in_parts


class TrainResult(NamedTuple):
    """A run that has come to its end, with a leading axis of L lanes.

    lanes: the last state; `lanes.train_state.params` are the parameters by part, and
        `lanes.failed_at` [L] is the step at which a lane diverged, -1 for none.
    metrics: by name, [L, chunks]: means over the steps of each chunk.
    evaluation: by name, [L, ...]: what the task's `evaluate` and `conclude` give at the end.
    """

    lanes: Lane
    metrics: dict[str, np.ndarray]
    evaluation: dict[str, np.ndarray]


class Progress(Protocol):
    """What `train` tells of itself, as `terminal.progress.Progress` takes it."""

    def training(self, name: str, total: int, num_seeds: int) -> AbstractContextManager:
        """Around the steps up to `total` of so many lanes."""
        ...

    def update(self, step: int, metrics: dict | None = None, failed: dict | None = None) -> None:
        """The state after `step`: metrics by name and lane, and the step at which a lane failed."""
        ...


class _Shown:
    """Steps as they are made, told to a `Progress` if there is one."""

    def __init__(self, progress: Progress | None, num_steps: int, num_lanes: int):
        self._progress, self._total, self._lanes = progress, num_steps, num_lanes
        self._step, self._last = 0, ({}, {})

    def training(self) -> AbstractContextManager:
        if self._progress is None:
            return contextlib.nullcontext()
        return self._progress.training("training", self._total, self._lanes)

    def counting(self, program: Callable) -> Callable:
        """The program of a part of a chunk, whose steps are counted."""

        def counted(lanes, data, num_steps, sums=None, last=True):
            self._step += num_steps
            return program(lanes, data, num_steps, sums, last)

        return counted

    def between(self) -> None:
        if self._progress is not None:
            self._progress.update(self._step, *self._last)

    def chunk(self, chunk: Chunk, metrics: dict[str, np.ndarray]) -> None:
        failed_at = np.asarray(chunk.lanes.failed_at)
        failed = {int(lane): int(failed_at[lane]) for lane in np.flatnonzero(failed_at >= 0)}
        self._last = metrics, failed
        self.between()


def train(
    task: Task | Callable[[dict[str, Array]], Task],
    keys: Key,
    data: PyTree,
    num_steps: int,
    *,
    hyper: dict[str, Array] | None = None,
    chunk_steps: int | None = None,
    callback: Callable[[Chunk], None] | None = None,
    progress: Progress | None = None,
    strategy: str = "auto",
    devices: str = "auto",
) -> TrainResult:
    """Trains a task over many seeds, and over numeric hyper-parameters that differ between them.

    Args:
      task: the task, or `hyper -> Task`, where `hyper` holds this lane's own numbers as scalars.
      keys: typed keys [L], one for each lane, such as `jax.random.split(jax.random.key(0), L)`.
      data: arrays that the task's `draw` and `evaluate` see; put on the devices once.
      num_steps: of the game.
      hyper: arrays [L] by name.
      chunk_steps: steps after which the host acts; None for all. Ctrl-C is answered within a few
        seconds, however many they are.
      callback: called with the `Chunk` after each of them. Its lanes are reused for the next one:
        take out what is to stay.
      progress: shows the steps every two seconds, with the metrics and the lanes that diverged
        after each chunk: a `terminal.progress.Progress()`.
      strategy: "vmap", "map" or "auto", as in `parallel.over_seeds`.
      devices: "auto", "jit" or "pmap", as in `parallel.distribute`.

    Returns:
      The last state, the metrics of every chunk and the evaluation of the last.

    Raises:
      ConfigError: a number of steps below 1, keys that are not [L], hyper-parameters of another
        length, or anything that a task must be and is not.
    """
    checks.whole(num_steps, "num_steps")
    chunk_steps = num_steps if chunk_steps is None else checks.whole(chunk_steps, "chunk_steps")
    task_of = (lambda hyper: task) if isinstance(task, Task) else task
    require(callable(task_of), f"task must be a Task or hyper -> Task; got {described(task)}")
    hyper = {} if hyper is None else hyper
    require(isinstance(hyper, dict), f"hyper must be arrays by name; got {described(hyper)}")
    program = parallel.distribute(
        lane_program(task_of), keys, hyper, strategy=strategy, devices=devices
    )
    data = program.place_data(data)
    shapes = program.abstract(keys, hyper)
    evaluate = program.compile_evaluate(shapes, data)  # before training, which may take long
    conclude = program.lower_conclude(shapes, data)
    lanes = program.init(keys, hyper)
    shown = _Shown(progress, num_steps, len(keys))
    advance = in_parts(
        shown.counting(program.compile_advance(lanes, data)), between=lambda made: shown.between()
    )
    seen = []
    with shown.training():
        chunks = run(advance, lanes, data, start=0, num_steps=num_steps, chunk_steps=chunk_steps)
        for chunk in chunks:
            lanes = chunk.lanes
            seen.append(jax.device_get(chunk.metrics))
            shown.chunk(chunk, seen[-1])
            if callback is not None:
                callback(chunk)
    evaluation = on_host(evaluate(lanes, data))
    if conclude is not None:
        evaluation |= on_host(conclude.compile()(lanes, data))
    metrics = {name: np.stack([each[name] for each in seen], axis=1) for name in seen[0]}
    return TrainResult(lanes, metrics, evaluation)
