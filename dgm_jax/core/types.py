"""The contracts that the rooms of the library share, on one page.

A training run is a game: named *players* own named parts of the parameters, each
minimises a loss of its own, and optax makes the updates. A variational auto-encoder
is a game with one player, a GAN and adversarial variational Bayes have two. The
engine (`dgm_jax.training`, `dgm_jax.parallel`) knows the contracts on this page and
nothing else.

Every function here is written for **one seed**; `dgm_jax.parallel.over_seeds` adds
the axis of lanes (seed x numeric hyper-parameter). A contract is a NamedTuple of
functions; the protocol beside it gives the signature of each, where a bare `/` means
that arguments are passed by position.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax

Array = jax.Array
Key = jax.Array
PyTree = Any
Params = dict[str, PyTree]
State = dict[str, PyTree]
Metrics = dict[str, Array]


class Aux(NamedTuple):
    """What a loss returns beside its value."""

    # model state by part after this evaluation (batch statistics, codebooks)
    state: State
    metrics: Metrics  # scalars for a person to look at


class LossFn(Protocol):
    """`(params, state, batch, key) -> (loss, Aux)`; `loss` is a scalar to be minimised."""

    def __call__(
        self, params: Params, state: State, batch: PyTree, key: Key, /
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
    state: State  # model state by part that is not trained by gradient
    opt_state: dict[str, PyTree]  # by player


class StepInfo(NamedTuple):
    """What one step tells about itself, all of it scalars, by player.

    losses: a lane lives as long as they are finite, whatever the players are called.
    metrics: for a person to look at: nothing is decided by them, and they may be infinite. Two
        players may report metrics of one name: a run records them as `player.metric`, and losses
        as `player.loss`.
    """

    losses: Metrics
    metrics: dict[str, Metrics]


class DrawBatch(Protocol):
    """`index -> batch`: a batch of the stream that an algorithm trains on."""

    def __call__(self, index: Array | int, /) -> PyTree: ...


class AlgorithmStep(Protocol):
    """`(train_state, draw) -> (train_state, StepInfo)`."""

    def __call__(
        self, train_state: TrainState, draw: DrawBatch, /
    ) -> tuple[TrainState, StepInfo]: ...


class Algorithm(NamedTuple):
    """How the players move.

    init: `(key, params, state) -> TrainState`.
    step: one step of the game, where `draw(index)` is the index-th batch of the stream.
    """

    init: Callable[[Key, Params, State], TrainState]
    step: AlgorithmStep


class Init(Protocol):
    """`key -> (params, state)`, both dictionaries by part."""

    def __call__(self, key: Key, /) -> tuple[Params, State]: ...


class Sample(Protocol):
    """`(params, state, key, num_samples) -> samples [num_samples, ...]`."""

    def __call__(self, params: Params, state: State, key: Key, num_samples: int, /) -> PyTree: ...


class Decode(Protocol):
    """`(params, state, z) -> x`."""

    def __call__(self, params: Params, state: State, z: PyTree, /) -> Array: ...


class Model(NamedTuple):
    """A recipe: parameters, players, and what a trained model can do.

    players: by name, in the order in which they move.
    sample: the inference form.
    decode: for models with latents, the inference form; None for others.
    latent: its densities, for bounds and likelihoods; None for models without them.
    """

    init: Init
    players: dict[str, Player]
    sample: Sample
    decode: Decode | None = None
    latent: "LatentModel | None" = None


class InferPosterior(Protocol):
    """`(params, state, x, *, train, key) -> (q, state)`, the tree of arrays that fixes q(z | x)."""

    def __call__(
        self, params: Params, state: State, x: Array, /, *, train: bool, key: Key | None = None
    ) -> tuple[PyTree, State]: ...


class SamplePosterior(Protocol):
    """`(key, q, num_samples) -> z`, [num_samples, B, *E], or [B, *E] for None."""

    def __call__(self, key: Key, q: PyTree, num_samples: int | None = None, /) -> Array: ...


class LogLikelihood(Protocol):
    """`(params, state, z, x, *, train, key) -> (log p(x | z) [*S, B], state)`."""

    def __call__(
        self,
        params: Params,
        state: State,
        z: Array,
        x: Array,
        /,
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Array, State]: ...


class LatentModel(NamedTuple):
    """The densities of a model p(x | z) p(z) with an approximate posterior q(z | x).

    x is [B, ...], z is [*S, B, *E], densities are [*S, B] in nats. A family declares what it has;
    what needs a density that is None is refused by `name` (`dgm_jax.models.latent`). All but what
    takes `train` is the inference form.

    name: of the family, in messages, such as "a VAE".
    parts: names of the entries of `params` and `state` that the densities read.
    log_prior: `(params, state, z) -> log p(z)`.
    log_posterior: `(q, z) -> log q(z | x)`; None where q can be sampled only.
    entropy: `q -> [B, *J]`, that of q(z | x) by latent, in closed form.
    rate: `(params, state, q) -> [B, *J]`, KL(q(z | x) || p(z)) by latent, in closed form.
    reparameterized: draws of q are differentiable functions of q, and densities of z.
    """

    name: str
    parts: tuple[str, ...]
    posterior: InferPosterior
    sample_posterior: SamplePosterior
    log_likelihood: LogLikelihood
    sample_prior: Sample
    decode: Decode
    log_prior: Callable[[Params, State, Array], Array] | None = None
    log_posterior: Callable[[PyTree, Array], Array] | None = None
    entropy: Callable[[PyTree], Array] | None = None
    rate: Callable[[Params, State, PyTree], Array] | None = None
    reparameterized: bool = True


class InitNetwork(Protocol):
    """`(key, x) -> (params, state)` from an example input with its batch axis."""

    def __call__(self, key: Key, x: PyTree, /) -> tuple[PyTree, PyTree]: ...


class ApplyNetwork(Protocol):
    """`(params, state, x, *, train, key) -> (output, state)`."""

    def __call__(
        self, params: PyTree, state: PyTree, x: PyTree, /, *, train: bool, key: Key | None = None
    ) -> tuple[Any, PyTree]: ...


class Network(NamedTuple):
    """A pair of pure functions; `networks.from_flax`, `from_nnx` and `from_functions` make one.

    apply: with `train=True` in its training form: batch statistics are those of the batch, the
        running ones move, and random numbers, such as dropout's, are drawn from the key. With
        `train=False` the state comes back unchanged and the key plays no part.
    """

    init: InitNetwork
    apply: ApplyNetwork


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


class Draw(Protocol):
    """`(data, data_key, index) -> batch`, a pure function: batch `index` of the stream is the same
    whenever, and on however many devices, it is asked for. Arrays have a leading axis of examples;
    a scalar, such as the step of a schedule, is for all of them."""

    def __call__(self, data: PyTree, data_key: Key, index: Array, /) -> PyTree: ...


@dataclasses.dataclass(frozen=True)
class Gather:
    """A `Draw` in two halves, so that the second may run where the data are, such as on the host.

    positions: `(data_key, index) -> positions`, which examples batch `index` holds, a tree of
        integer arrays; needs no data.
    gather: `(data, positions, data_key, index) -> batch`; the key is for noise on the examples.
    """

    positions: Callable[[Key, Array], PyTree]
    gather: Callable[[PyTree, PyTree, Key, Array], PyTree]

    def __call__(self, data: PyTree, data_key: Key, index: Array, /) -> PyTree:
        """The batch, in one go."""
        return self.gather(data, self.positions(data_key, index), data_key, index)


class Evaluate(Protocol):
    """`(train_state, data, key) -> {name: array}`; the key is the same at every call."""

    def __call__(self, train_state: TrainState, data: PyTree, key: Key, /) -> Metrics: ...


class Task(NamedTuple):
    """One seed's whole run as pure functions; built inside the compiled program, so
    that numeric hyper-parameters may be tracers.

    draw: one function, or a `Gather`, which has its two halves apart.
    algorithm: `replica -> Algorithm`, such as `partial(training.alternating, players, optimizers)`.
    evaluate: scalars are metrics, other shapes go to the experiment's `finalise` and `figures`.
        Samples are drawn at fixed noise. Where training has a metric of the same name, the
        evaluation's value stands.
    conclude: called once, after the last step, for metrics too costly to compute at every
        evaluation; what it returns joins that of the last `evaluate`.
    batch_coupling: None where the loss is a mean over examples; otherwise the reason
        why per-device batches would change the objective (pmap refuses it).
    """

    init: Init
    draw: Draw
    algorithm: Callable[[Replica], Algorithm]
    evaluate: Evaluate
    batch_coupling: str | None = None
    conclude: Evaluate | None = None


class Lane(NamedTuple):
    """One seed at one setting of the numeric hyper-parameters, as it is carried and saved."""

    train_state: TrainState
    failed_at: Array  # int32[]; the step that would have made it non-finite, -1 while it is well
    eval_key: Key  # fixed: samples are drawn at the same noise at every evaluation
    hyper: dict[str, Array]  # numeric hyper-parameters of this lane


class Sums(NamedTuple):
    """Metrics of a chunk, summed over those of its steps so far that a lane took."""

    totals: Metrics  # float32[] each
    count: Array  # int32[]


class LaneProgram(NamedTuple):
    """A run of one lane as pure functions; `parallel.distribute` compiles it for many.

    init: `(key, hyper) -> Lane`.
    advance: `(lane, data, num_steps, replica) -> (Lane, metrics)`: a whole chunk, its metrics
        means over its steps.
    advance_part: `(lane, sums, data, num_steps, last, replica) -> (Lane, Sums, metrics)`: the next
        steps of a chunk, where `last` says that it ends with them; `num_steps` and `last` may be
        traced.
    no_sums: `(lane, data) -> Sums` at the beginning of a chunk.
    evaluate: `(lane, data) -> {name: array}`.
    conclude: the same, after the last step; `{}` where the task has nothing to add.
    """

    init: Callable[[Key, dict[str, Array]], Lane]
    advance: Callable[[Lane, PyTree, int, Replica], tuple[Lane, Metrics]]
    advance_part: Callable[
        [Lane, Sums, PyTree, int | Array, bool | Array, Replica], tuple[Lane, Sums, Metrics]
    ]
    no_sums: Callable[[Lane, PyTree], Sums]
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
    kl_from_gaussian: `(params, loc [*B, D], scale [*B, D]) -> [*B, D]`, KL(N(loc, scale^2) || p)
        by dimension, where p is a product over dimensions and that has a closed form.
    """

    init: Callable[[Key], PyTree]
    sample: Callable[[PyTree, Key, int], Array]
    log_prob: Callable[[PyTree, Array], Array]
    kl_from_gaussian: Callable[[PyTree, Array, Array], Array] | None = None


class Quantized(NamedTuple):
    """What quantizing z [*B, D] gives.

    quantized: [*B, D], the values of the codes, with a gradient to z only.
    codes: int32[*B], or [*B, L] with L codes a vector.
    codebook_loss: shape of codes, squared units of z summed over D: it moves codebooks, never z.
    commitment_loss: shape of codes, in the same units: it moves z and never a codebook.

    A loss sums over the codes of an example and averages over examples (`objectives.vqvae.loss`),
    so that a duplicated batch changes nothing.
    """

    quantized: Array
    codes: Array
    codebook_loss: Array
    commitment_loss: Array


class InitQuantizer(Protocol):
    """`(key, z=None, mask=None) -> (params, state)`; z [*B, D] are vectors that a codebook may
    start from, mask bool[*B] is False for those that only fill up a batch."""

    def __call__(
        self, key: Key, z: Array | None = None, /, *, mask: Array | None = None
    ) -> tuple[PyTree, PyTree]: ...


class UpdateQuantizer(Protocol):
    """`(key, state, z, quantized, mask=None) -> (state, metrics)`, from what `quantize` gave for z.

    mask: bool[*B], False for vectors of z [*B, D] that only fill up a batch. State and metrics are
        those of the call without them.
    """

    def __call__(
        self,
        key: Key,
        state: PyTree,
        z: Array,
        quantized: Quantized,
        /,
        *,
        mask: Array | None = None,
    ) -> tuple[PyTree, Metrics]: ...


class Quantizer(NamedTuple):
    """Vectors [*B, D] to codes [*B, *code_shape] and back; `quantization.QUANTIZERS` make one.

    width: D. num_codes: K, at each level; codes lie in [0, K).
    code_shape: `()` for one code a vector, `(L,)` for L levels (or parts), each its own code.
    init: what is trained by gradient, and what `update` moves; both without leaves where there is
        none of the kind.
    quantize: `(params, state, z) -> Quantized`, the same in training and inference. Its
        `codebook_loss` is added to the loss as it is: zeros where no codebook is trained by it.
    lookup: `(params, state, codes) -> [*B, D]`, what `quantize` returned for these codes.
    update: after `quantize`, in training: moving averages, revival; no gradient passes.

    `init` and `update` are given a mask only where a batch has one: a quantizer that moves nothing,
    or is never used with padding, need not take it.
    """

    width: int
    num_codes: int
    code_shape: tuple[int, ...]
    init: InitQuantizer
    quantize: Callable[[PyTree, PyTree, Array], Quantized]
    lookup: Callable[[PyTree, PyTree, Array], Array]
    update: UpdateQuantizer
