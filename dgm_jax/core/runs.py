"""The contracts of a training run: replicas, streams of batches, tasks and lanes."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

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


class Fed(NamedTuple):
    """The examples of some consecutive batches, which stand in for a data set on the host.

    Attributes:
        examples: tree of arrays [n, B, ...], one row for each batch.
        first: int32[], the number of the first of these batches in the stream.
    """

    examples: PyTree
    first: Array | np.int32


def _same_batch(batch: PyTree, data_key: Key, index: Array) -> PyTree:
    del data_key, index
    return batch


@dataclasses.dataclass(frozen=True)
class Gather:
    """A `Draw` in two halves, so that the first can run where the data are, such as on the host.

    A batch depends on the data only through the examples at its positions: from those examples
    alone, at positions 0..B-1, `gather` makes the same batch. That is how it is called where the
    data stay on the host (`Fed`).

    Attributes:
        positions: `(data_key, index) -> positions`, which examples batch `index` holds, int32[B];
            needs no data.
        gather: `(data, positions, data_key, index) -> batch`; the key is for noise on the examples.
        part: names under which `data` holds the arrays with the axis of examples; `()` where data
            are those arrays.
    """

    positions: Callable[[Key, Array], PyTree]
    gather: Callable[[PyTree, PyTree, Key, Array], PyTree]
    part: tuple[str, ...] = ()

    def __call__(self, data: PyTree, data_key: Key, index: Array, /) -> PyTree:
        """Both halves in one call.

        Args:
            data: tree of arrays, or `Fed` with the examples of batch `index` among them.
            data_key: typed key of the stream.
            index: int32[], the number of the batch.

        Returns:
            The batch.
        """
        if isinstance(data, Fed):
            row = jnp.asarray(index, jnp.int32) - data.first
            examples = jax.tree.map(
                lambda x: jax.lax.dynamic_index_in_dim(x, row, keepdims=False), data.examples
            )
            where = jnp.arange(len(jax.tree.leaves(examples)[0]), dtype=jnp.int32)
            for name in reversed(self.part):
                examples = {name: examples}
            return self.gather(examples, where, data_key, index)
        return self.gather(data, self.positions(data_key, index), data_key, index)

    def examples(self, data: PyTree) -> PyTree:
        """Select the arrays that positions count along.

        Args:
            data: tree of arrays.

        Returns:
            The entry of data that `part` names.
        """
        for name in self.part:
            data = data[name]
        return data


def draw_from(
    draw: Draw,
    part: str,
    finish: Callable[[PyTree, Key, Array], PyTree] = _same_batch,
    *,
    stream: Callable[[Key], Key] = lambda data_key: data_key,
) -> Draw:
    """Make the draw of a task whose data hold those of `draw` under a name.

    Args:
        draw: of batches of `data[part]`; a `Gather` stays one.
        part: the name.
        finish: `(batch, data_key, index) -> batch` adds what the task needs beside the examples.
        stream: `data_key -> data_key`, the key that `draw` gets.

    Returns:
        `(data, data_key, index) -> finish(draw(data[part], stream(data_key), index), ...)`.

    Example:
        >>> one = core.Gather(lambda key, index: index[None], lambda x, where, *_: x[where])
        >>> draw = core.draw_from(one, "train", lambda x, key, index: {"x": x, "step": index})
        >>> draw({"train": jnp.array([1.0, 2.0])}, jax.random.key(0), jnp.int32(1))["x"]
        Array([2.], dtype=float32)
    """
    if isinstance(draw, Gather):
        inner = draw

        def positions(data_key: Key, index: Array) -> PyTree:
            return inner.positions(stream(data_key), index)

        def gather(data: PyTree, where: PyTree, data_key: Key, index: Array) -> PyTree:
            batch = inner.gather(data[part], where, stream(data_key), index)
            return finish(batch, data_key, index)

        return Gather(positions, gather, (part, *inner.part))

    def drawn(data: PyTree, data_key: Key, index: Array, /) -> PyTree:
        return finish(draw(data[part], stream(data_key), index), data_key, index)

    return drawn


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


class Stream(NamedTuple):
    """The batches of a lane, for those who send them to the device.

    Attributes:
        draw: the task's.
        num_batches: how many a step draws; None where the algorithm does not say.
    """

    draw: Draw
    num_batches: int | None


class LaneProgram(NamedTuple):
    """The run of one lane as pure functions; `parallel.distribute` compiles it for many.

    Attributes:
        init: `(key, hyper) -> Lane`.
        advance: `(lane, data, num_steps, replica) -> (Lane, metrics)`: a whole chunk, with metrics
            averaged over its steps.
        advance_part: `(lane, sums, data, num_steps, last, replica) -> (Lane, Sums, metrics)`: the
            next steps of a chunk, where `last` says whether they complete it; `num_steps` and
            `last` may be traced.
        no_sums: `(lane, data, replica=SOLO) -> Sums` at the beginning of a chunk.
        evaluate: `(lane, data) -> {name: array}`.
        evaluate_final: the same, after the last step; `{}` where the task has nothing to add.
        stream: `hyper -> Stream`. Where its draw is a `Gather`, data may be `Fed`.
        try_part: `(lane, sums, data, num_steps, replica) -> (TrainState, Sums, int32[])`: steps
            made whatever comes out, of which `advance_part` consists; and the number of the first
            that was not finite. What a step costs is counted there.
    """

    init: Callable[[Key, dict[str, Array]], Lane]
    advance: Callable[[Lane, PyTree, int, Replica], tuple[Lane, Metrics]]
    advance_part: Callable[
        [Lane, Sums, PyTree, int | Array, bool | Array, Replica], tuple[Lane, Sums, Metrics]
    ]
    no_sums: Callable[..., Sums]
    evaluate: Callable[[Lane, PyTree], Metrics]
    evaluate_final: Callable[[Lane, PyTree], Metrics] = lambda lane, data: {}
    stream: Callable[[dict[str, Array]], Stream] | None = None
    try_part: Callable[..., tuple[TrainState, Sums, Array]] | None = None
