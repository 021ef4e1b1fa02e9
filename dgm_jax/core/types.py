"""The contracts that the rooms of the library share.

A training run is a game: named *players* own named parts of the parameters, each
minimises a loss of its own, and optax makes the updates. A variational auto-encoder
is a game with one player, a GAN and adversarial variational Bayes have two. The
engine (`dgm_jax.training`, `dgm_jax.parallel`) knows the contracts on this page and
nothing else.

Every function here is written for **one seed**; `dgm_jax.parallel.over_seeds` adds
the axis of lanes (seed x numeric hyper-parameter).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax

Array = jax.Array
Key = jax.Array
PyTree = Any
Params = dict[str, PyTree]
Metrics = dict[str, Array]


class Aux(NamedTuple):
    """What a loss returns beside its value."""

    # model state by part after this evaluation (batch statistics, codebooks)
    state: dict[str, PyTree]
    metrics: Metrics  # scalars for a person to look at


class LossFn(Protocol):
    """`(params, state, batch, key) -> (loss, Aux)`; `loss` is a scalar to be minimised."""

    def __call__(
        self, params: Params, state: PyTree, batch: PyTree, key: Key
    ) -> tuple[Array, Aux]: ...


class Player(NamedTuple):
    """One side of the game.

    parts: names of the entries of `params` and `state` that this player owns: only it changes them.
    loss: minimised with respect to those parts only; the rest is held constant.
    num_updates: optimizer updates in one step of the game, each on a fresh batch.
    lookahead: how many updates of which opponents the loss looks ahead of, as pairs
        `(player name, k)`; the gradient flows through these k optax updates (Metz et
        al. 2017, "Unrolled generative adversarial networks", eq. 7-9).
    """

    parts: tuple[str, ...]
    loss: LossFn
    num_updates: int = 1
    lookahead: tuple[tuple[str, int], ...] = ()


class TrainState(NamedTuple):
    """What the next step needs, and nothing else."""

    step: Array  # int32[]; steps of the game made so far
    key: Key  # typed key of the noise: step t uses fold_in(key, t)
    data_key: Key  # typed key of the data stream: draw(data, data_key, i) is its i-th batch
    params: Params
    state: dict[str, PyTree]  # model state by part that is not trained by gradient
    opt_state: dict[str, PyTree]  # by player


class StepInfo(NamedTuple):
    """What one step tells about itself, all of it scalars.

    losses: by player. A lane lives as long as they are finite, whatever the players are called.
    metrics: by name, for a person to look at: nothing is decided by them, and they may be infinite.
    """

    losses: dict[str, Array]
    metrics: Metrics


class Algorithm(NamedTuple):
    """How the players move.

    init: `(key, params, state) -> TrainState`.
    step: `(train_state, draw) -> (train_state, StepInfo)`, where `draw(index)` is the
        index-th batch of the stream.
    """

    init: Callable[[Key, Params, PyTree], TrainState]
    step: Callable[[TrainState, Callable[[Array], PyTree]], tuple[TrainState, StepInfo]]


class Model(NamedTuple):
    """A recipe: parameters, players, and what a trained model can do.

    init: `key -> (params, state)`.
    players: by name, in the order in which they move.
    sample: `(params, state, key, num_samples) -> samples`, the inference form.
    decode: `(params, state, z) -> x` for models with latents, the inference form; None for others.
    """

    init: Callable[[Key], tuple[Params, PyTree]]
    players: dict[str, Player]
    sample: Callable[..., PyTree]
    decode: Callable[..., PyTree] | None = None


class Network(NamedTuple):
    """A pair of pure functions; `networks.from_flax` makes one of a linen module.

    init: `(key, x) -> (params, state)` from an example input with its batch axis.
    apply: `(params, state, x, train) -> (output, state)`; with `train=False` the
        state comes back unchanged.
    """

    init: Callable[..., tuple[PyTree, PyTree]]
    apply: Callable[..., tuple[Array, PyTree]]


class Replica(NamedTuple):
    """What one device of a data-parallel group does differently; `SOLO` changes nothing.

    place: `batch -> batch`, the part of a whole batch that this device works on.
    average: `tree -> tree`, the mean over devices of per-device means.
    fold_key: `key -> key`, noise of its own for each device.
    splits_batch: losses see a device's own part of the batch, not the whole.
    """

    place: Callable[[PyTree], PyTree]
    average: Callable[[PyTree], PyTree]
    fold_key: Callable[[Key], Key]
    splits_batch: bool = False


def _same(x):
    return x


SOLO = Replica(place=_same, average=_same, fold_key=_same)


class Task(NamedTuple):
    """One seed's whole run as pure functions; built inside the compiled program, so
    that numeric hyper-parameters may be tracers.

    init: `key -> (params, state)`.
    draw: `(data, data_key, index) -> batch`, a pure function: batch `index` of the
        stream is the same whenever, and on however many devices, it is asked for. Arrays have
        a leading axis of examples; a scalar, such as the step of a schedule, is for all of them.
    algorithm: `replica -> Algorithm`, such as `partial(training.alternating, players, optimizers)`.
    evaluate: `(train_state, data, key) -> {name: array}`; scalars are metrics, other
        shapes go to the experiment's `finalise` and `figures`. The key is the same at
        every evaluation, so samples are drawn at fixed noise. Where training has a metric
        of the same name, the evaluation's figure stands.
    conclude: the same signature, called once, after the last step, for figures too costly to follow
        during training; what it returns joins that of the last `evaluate`.
    batch_coupling: None where the loss is a mean over examples; otherwise the reason
        why per-device batches would change the objective (pmap refuses it).
    """

    init: Callable[[Key], tuple[Params, PyTree]]
    draw: Callable[[PyTree, Key, Array], PyTree]
    algorithm: Callable[[Replica], Algorithm]
    evaluate: Callable[[TrainState, PyTree, Key], Metrics]
    batch_coupling: str | None = None
    conclude: Callable[[TrainState, PyTree, Key], Metrics] | None = None


class Lane(NamedTuple):
    """One seed at one setting of the numeric hyper-parameters, as it is carried and saved."""

    train_state: TrainState
    failed_at: Array  # int32[]; the step that would have made it non-finite, -1 while it is well
    eval_key: Key  # fixed: samples are drawn at the same noise at every evaluation
    hyper: dict[str, Array]  # numeric hyper-parameters of this lane


class LaneProgram(NamedTuple):
    """A run of one lane as pure functions; `parallel.distribute` compiles it for many.

    init: `(key, hyper) -> Lane`.
    advance: `(lane, data, num_steps, replica) -> (Lane, metrics)`, `num_steps` static.
    evaluate: `(lane, data) -> {name: array}`.
    conclude: the same, after the last step; `{}` where the task has nothing to add.
    """

    init: Callable[[Key, dict[str, Array]], Lane]
    advance: Callable[[Lane, PyTree, int, Replica], tuple[Lane, Metrics]]
    evaluate: Callable[[Lane, PyTree], Metrics]
    conclude: Callable[[Lane, PyTree], Metrics] = lambda lane, data: {}


class Bijection(NamedTuple):
    """An invertible map with its log-determinant; log-dets are summed over the event.

    init: `key -> params`.
    forward_and_log_det: `(params, x) -> (y, log|det dy/dx|)`.
    inverse_and_log_det: `(params, y) -> (x, log|det dx/dy|)`.
    """

    init: Callable[[Key], PyTree]
    forward_and_log_det: Callable[[PyTree, Array], tuple[Array, Array]]
    inverse_and_log_det: Callable[[PyTree, Array], tuple[Array, Array]]


class Prior(NamedTuple):
    """A distribution over latents.

    init: `key -> params`. sample: `(params, key, n) -> z[n, ...]`.
    log_prob: `(params, z[*B, ...]) -> [*B]` in nats.
    """

    init: Callable[[Key], PyTree]
    sample: Callable[[PyTree, Key, int], Array]
    log_prob: Callable[[PyTree, Array], Array]
