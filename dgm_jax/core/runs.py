"""The contracts of a training run: replicas, streams of batches, tasks and lanes."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, Protocol

from dgm_jax.core.types import Algorithm, Array, Init, Key, Metrics, PyTree, TrainState


class Replica(NamedTuple):
    """How a device works on a batch: on which part, and in how many pieces.

    `SOLO` works on the whole batch at once. An `Algorithm` of one's own has to use `average`,
    `fold_key` and `take` where it takes gradients, as those of `dgm_jax.training` do.

    Attributes:
        place: `batch -> batch`, the part of a whole batch that this device works on.
        average: `tree -> tree`, the mean over devices of per-device means.
        fold_key: `key -> key`, different noise on each device.
        splits_batch: losses see this device's part of the batch, not the whole.
        microbatches: N, the number of pieces into which the device divides its part of the batch.
            Losses see one after the other; gradients, states and metrics are means over them.
        take: `(batch, i) -> batch`, the i-th of the N pieces.
    """

    place: Callable[[PyTree], PyTree]
    average: Callable[[PyTree], PyTree]
    fold_key: Callable[[Key], Key]
    splits_batch: bool = False
    microbatches: int = 1
    take: Callable[[PyTree, Array], PyTree] = lambda batch, index: batch


def _same(x: PyTree) -> PyTree:
    return x


SOLO = Replica(place=_same, average=_same, fold_key=_same)


class Draw(Protocol):
    """`(data, data_key, index) -> batch`, a pure function of its arguments.

    Batch `index` of the stream is the same whenever, and on however many devices, it is asked for.
    Arrays have a leading axis of examples; a scalar, such as the step of a schedule, applies to all
    of them.
    """

    def __call__(self, data: PyTree, data_key: Key, index: Array, /) -> PyTree: ...


@dataclasses.dataclass(frozen=True)
class Gather:
    """A `Draw` in two halves, so that the second can run where the data are, such as on the host.

    Attributes:
        positions: `(data_key, index) -> positions`, which examples batch `index` holds, a tree of
            integer arrays; needs no data.
        gather: `(data, positions, data_key, index) -> batch`; the key is for noise on the examples.
    """

    positions: Callable[[Key, Array], PyTree]
    gather: Callable[[PyTree, PyTree, Key, Array], PyTree]

    def __call__(self, data: PyTree, data_key: Key, index: Array, /) -> PyTree:
        """Both halves in one call.

        Args:
            data: tree of arrays.
            data_key: typed key of the stream.
            index: int32[], the number of the batch.

        Returns:
            The batch.
        """
        return self.gather(data, self.positions(data_key, index), data_key, index)


class Evaluate(Protocol):
    """`(train_state, data, key) -> {name: array}`; the key is the same at every call."""

    def __call__(self, train_state: TrainState, data: PyTree, key: Key, /) -> Metrics: ...


class Task(NamedTuple):
    """The whole run of one seed as pure functions.

    It is built inside the compiled program, so numeric hyper-parameters may be tracers.

    Attributes:
        init: makes parameters and state.
        draw: one function, or a `Gather`, which has its two halves apart.
        algorithm: `replica -> Algorithm`, such as
            `partial(training.alternating, players, optimizers)`.
        evaluate: scalars are metrics, other shapes go to the experiment's `summarize` and `plots`.
            Samples are drawn at fixed noise. Where training has a metric of the same name, the
            evaluation's value wins.
        batch_coupling: None where the loss is a mean over examples; otherwise the reason why
            parts of a batch would change the objective (pmap and microbatches refuse it).
        evaluate_final: called once, after the last step, for metrics too costly to compute at every
            evaluation; its result is merged into that of the last `evaluate`.
    """

    init: Init
    draw: Draw
    algorithm: Callable[[Replica], Algorithm]
    evaluate: Evaluate
    batch_coupling: str | None = None
    evaluate_final: Evaluate | None = None


class Lane(NamedTuple):
    """One seed at one setting of the numeric hyper-parameters, as it is trained and saved.

    Attributes:
        train_state: of the game.
        failed_at: int32[], the step that would have made the state non-finite; -1 if there is none.
        eval_key: fixed, so that samples are drawn at the same noise at every evaluation.
        hyper: numeric hyper-parameters of this lane.
    """

    train_state: TrainState
    failed_at: Array
    eval_key: Key
    hyper: dict[str, Array]


class Sums(NamedTuple):
    """Metrics of a chunk, summed over the steps that a lane has taken.

    Attributes:
        totals: float32[] each.
        count: int32[], the number of these steps.
    """

    totals: Metrics
    count: Array


class LaneProgram(NamedTuple):
    """The run of one lane as pure functions; `parallel.distribute` compiles it for many.

    Attributes:
        init: `(key, hyper) -> Lane`.
        advance: `(lane, data, num_steps, replica) -> (Lane, metrics)`: a whole chunk, with metrics
            averaged over its steps.
        advance_part: `(lane, sums, data, num_steps, last, replica) -> (Lane, Sums, metrics)`: the
            next steps of a chunk, where `last` says whether they complete it; `num_steps` and
            `last` may be traced.
        no_sums: `(lane, data) -> Sums` at the beginning of a chunk.
        evaluate: `(lane, data) -> {name: array}`.
        evaluate_final: the same, after the last step; `{}` where the task has nothing to add.
    """

    init: Callable[[Key, dict[str, Array]], Lane]
    advance: Callable[[Lane, PyTree, int, Replica], tuple[Lane, Metrics]]
    advance_part: Callable[
        [Lane, Sums, PyTree, int | Array, bool | Array, Replica], tuple[Lane, Sums, Metrics]
    ]
    no_sums: Callable[[Lane, PyTree], Sums]
    evaluate: Callable[[Lane, PyTree], Metrics]
    evaluate_final: Callable[[Lane, PyTree], Metrics] = lambda lane, data: {}
