"""A whole run in one call, given a task, keys and data in memory."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np

from dgm_jax import parallel
from dgm_jax.core import (
    Array,
    Key,
    Lane,
    Metrics,
    PyTree,
    Sums,
    Task,
    checks,
    described,
    require,
)
from dgm_jax.training.loop import Chunk, lane_program, run
from dgm_jax.training.parts import in_parts

_Part = tuple[Lane, Sums, Metrics]


class TrainResult(NamedTuple):
    """A finished run, with a leading axis of L lanes.

    Attributes:
        lanes: the last state; `lanes.train_state.params` are the parameters by part, and
            `lanes.failed_at` [L] is the step at which a lane diverged, -1 for none.
        metrics: by name, [L, chunks]: means over the steps of each chunk.
        evaluation: by name, [L, ...]: the results of the task's `evaluate` and
            `evaluate_final` at the end.
    """

    lanes: Lane
    metrics: dict[str, np.ndarray]
    evaluation: dict[str, np.ndarray]


class Progress(Protocol):
    """What `train` calls to show its steps, such as a `terminal.progress.Progress`."""

    def training(self, name: str, total: int, num_seeds: int) -> AbstractContextManager[Any]:
        """Show the steps that are made inside of a context.

        Args:
            name: what is trained.
            total: number of steps.
            num_seeds: number of lanes.

        Returns:
            The context.
        """
        ...

    def update(
        self,
        step: int,
        metrics: dict[str, Any] | None = None,
        failed: dict[int, int] | None = None,
    ) -> None:
        """Show the state after a step.

        Args:
            step: number of steps made.
            metrics: by name, one value for each lane.
            failed: lane -> the step at which it diverged.
        """
        ...


class _Shown:
    """Counts steps, and shows them by a `Progress` if there is one."""

    def __init__(self, progress: Progress | None, num_steps: int, num_lanes: int):
        self._progress = progress
        self._total = num_steps
        self._num_lanes = num_lanes
        self._step = 0
        self._metrics: dict[str, np.ndarray] = {}
        self._failed: dict[int, int] = {}

    def training(self) -> AbstractContextManager[Any]:
        """The context in which steps are made."""
        if self._progress is None:
            return contextlib.nullcontext()
        return self._progress.training("training", self._total, self._num_lanes)

    def counting(self, program: Callable[..., _Part]) -> Callable[..., _Part]:
        """The program of `compile_advance`, with its steps counted."""

        def counted(
            lanes: Lane,
            data: PyTree,
            num_steps: int,
            sums: Sums | None = None,
            last: bool = True,
        ) -> _Part:
            self._step += num_steps
            return program(lanes, data, num_steps, sums, last)

        return counted

    def between(self) -> None:
        """Show the steps made so far, with the metrics of the last chunk."""
        if self._progress is not None:
            self._progress.update(self._step, self._metrics, self._failed)

    def chunk(self, chunk: Chunk, metrics: dict[str, np.ndarray]) -> None:
        """Show a chunk's metrics, and which lanes have diverged."""
        failed_at = parallel.fetched(chunk.lanes.failed_at)
        self._failed = {int(lane): int(failed_at[lane]) for lane in np.flatnonzero(failed_at >= 0)}
        self._metrics = metrics
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
    microbatches: int = 1,
    shard_parameters: bool = False,
) -> TrainResult:
    """Train a task over many seeds, and over numeric hyper-parameters that differ between them.

    Args:
        task: the task, or `hyper -> Task`, where `hyper` holds one lane's numbers as scalars.
        keys: typed keys [L], one for each lane, such as `jax.random.split(jax.random.key(0), L)`.
        data: arrays that the task's `draw` and `evaluate` read; they are put on the devices once.
        num_steps: number of steps of the game.
        hyper: arrays [L] by name; None for none.
        chunk_steps: steps after which the host acts; None for all. Ctrl-C is answered within a few
            seconds, however many they are.
        callback: called with the `Chunk` after each of them. Its lanes are reused for the next
            chunk: copy what you want to keep.
        progress: shows the steps every two seconds, with the metrics and the lanes that diverged
            after each chunk: a `terminal.progress.Progress()`.
        strategy: "vmap", "map" or "auto", as in `parallel.over_seeds`.
        devices: "auto", "jit" or "pmap", as in `parallel.distribute`.
        microbatches: pieces of a batch whose gradients are averaged, as there.
        shard_parameters: whether each device holds a part of all parameters, as there.

    Returns:
        A `TrainResult`: the last state, the metrics of every chunk [L, chunks] by name, and what
        the task's `evaluate` gave at the end.

    Raises:
        ConfigError: for fewer than one step, keys that are not [L], hyper-parameters of another
            length, or a task that lacks what the engine needs.
    """
    checks.whole(num_steps, "num_steps")
    chunk_steps = num_steps if chunk_steps is None else checks.whole(chunk_steps, "chunk_steps")
    task_of = (lambda hyper: task) if isinstance(task, Task) else task
    require(callable(task_of), f"task must be a Task or hyper -> Task; got {described(task)}")
    hyper = {} if hyper is None else hyper
    require(isinstance(hyper, dict), f"hyper must be arrays by name; got {described(hyper)}")
    lanes_of_task = lane_program(task_of)
    program = parallel.distribute(
        lanes_of_task,
        keys,
        hyper,
        strategy=strategy,
        devices=devices,
        microbatches=microbatches,
        shard_parameters=shard_parameters,
    )
    data = program.place_data(data)
    shapes = program.abstract(keys, hyper)
    # Compiled before training, which may take long, so that mistakes in them show at once.
    evaluate = program.compile_evaluate(shapes, data)
    evaluate_final = program.lower_evaluate_final(shapes, data)
    lanes = program.init(*program.place_data((keys, hyper)))
    shown = _Shown(progress, num_steps, len(keys))
    counted = shown.counting(program.compile_advance(lanes, data))
    advance = in_parts(counted, between=lambda made: shown.between())
    chunks = run(advance, lanes, data, start=0, num_steps=num_steps, chunk_steps=chunk_steps)
    lanes, metrics = _over_chunks(chunks, len(keys), shown, callback)
    evaluation = parallel.fetched(evaluate(lanes, data))
    if evaluate_final is not None:
        evaluation |= parallel.fetched(evaluate_final.compile()(lanes, data))
    return TrainResult(*parallel.trim((lanes, metrics, evaluation), len(keys)))


def _over_chunks(
    chunks: Iterator[Chunk],
    num_lanes: int,
    shown: _Shown,
    callback: Callable[[Chunk], None] | None,
) -> tuple[Lane, dict[str, np.ndarray]]:
    """Make the chunks; the last state, and the metrics [lanes, chunks] by name."""
    metrics_of_chunks = []
    with shown.training():
        for padded in chunks:
            lanes = padded.lanes
            chunk = Chunk(padded.step, *parallel.trim(padded[1:], num_lanes))
            metrics_of_chunks.append(parallel.fetched(chunk.metrics))
            shown.chunk(chunk, metrics_of_chunks[-1])
            if callback is not None:
                callback(chunk)
    names = list(metrics_of_chunks[0])
    metrics = {name: np.stack([m[name] for m in metrics_of_chunks], axis=1) for name in names}
    return lanes, metrics
