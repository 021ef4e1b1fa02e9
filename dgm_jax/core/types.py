"""The contracts of games and models that all packages share.

A training run is a game: named *players* own named parts of the parameters, each minimizes a loss
of its own, and optax makes the updates. A variational auto-encoder is a game with one player; a GAN
and adversarial variational Bayes have two. The contracts of the engine's runs are in `runs`, those
of priors, bijections and quantizers in `parts`. The engine (`dgm_jax.training`, `dgm_jax.parallel`)
knows these contracts and nothing else.

Every function is written for **one seed**; `dgm_jax.parallel.over_seeds` adds the axis of lanes
(seed x numeric hyper-parameter). A contract is a NamedTuple of functions; the protocol beside it
gives the signature of each, where a bare `/` means that arguments are passed by position.
"""

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
    """What a loss returns besides its value.

    Attributes:
        state: model state by part after this evaluation (batch statistics, codebooks).
        metrics: scalars to log.
    """

    state: State
    metrics: Metrics


class LossFn(Protocol):
    """`(params, state, batch, key) -> (loss, Aux)`; `loss` is a scalar to be minimized."""

    def __call__(
        self, params: Params, state: State, batch: PyTree, key: Key, /
    ) -> tuple[Array, Aux]: ...


class Player(NamedTuple):
    """One side of the game.

    Attributes:
        parts: names of the entries of `params` and `state` that this player owns; no other player
            changes them.
        loss: minimized with respect to those parts only; the rest is held constant.
        num_updates: optimizer updates in one step of the game, each on a fresh batch.
        lookahead: opponents' updates that the loss anticipates, as pairs `(player name, k)`; the
            gradient flows through these k optax updates (Metz et al. 2017, "Unrolled generative
            adversarial networks", eq. 7-9).
    """

    parts: tuple[str, ...]
    loss: LossFn
    num_updates: int = 1
    lookahead: tuple[tuple[str, int], ...] = ()


class TrainState(NamedTuple):
    """What the next step needs, and nothing else.

    Attributes:
        step: int32[], the number of steps of the game so far.
        key: typed key of the noise: step t uses fold_in(key, t).
        data_key: typed key of the data stream: draw(data, data_key, i) is its i-th batch.
        params: by part, trained by gradient.
        state: model state by part, not trained by gradient.
        opt_state: by player.
    """

    step: Array
    key: Key
    data_key: Key
    params: Params
    state: State
    opt_state: dict[str, PyTree]


class StepInfo(NamedTuple):
    """What one step reports, as scalars by player.

    Attributes:
        losses: a lane counts as diverged once one of them is not finite.
        metrics: to log only: nothing depends on them, and they may be infinite. Two players may
            report metrics of one name: a run records them as `player.metric`, and losses as
            `player.loss`.
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

    Attributes:
        init: `(key, params, state) -> TrainState`.
        step: one step of the game, where `draw(index)` is the index-th batch of the stream.
        num_batches: n, where step t draws batches n t up to n (t + 1) - 1 and no others; None where
            that is not so, and then the data have to be on the device.
    """

    init: Callable[[Key, Params, State], TrainState]
    step: AlgorithmStep
    num_batches: int | None = None


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
    """Parameters, players, and what a trained model can do.

    Attributes:
        init: makes parameters and state.
        players: by name, in the order in which they move.
        sample: draws in inference mode.
        decode: latents to data in inference mode; None for models without latents.
        latent: densities for bounds and likelihoods; None for models without them.
    """

    init: Init
    players: dict[str, Player]
    sample: Sample
    decode: Decode | None = None
    latent: "LatentModel | None" = None


class InferPosterior(Protocol):
    """`(params, state, x, *, train, key) -> (q, state)`; q is a tree that determines q(z | x)."""

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

    x is [B, ...], z is [*S, B, *E], densities are [*S, B] in nats. A model family sets what it has;
    a function that needs a missing density refuses the family by its `name`
    (`dgm_jax.models.latent`). Functions without a `train` argument run in inference mode.

    Attributes:
        name: of the family, for messages, such as "a VAE".
        parts: names of the entries of `params` and `state` that the densities read.
        posterior: the encoder.
        sample_posterior: draws of q(z | x).
        log_likelihood: log p(x | z).
        sample_prior: draws of p(z).
        decode: latents to data.
        log_prior: `(params, state, z) -> log p(z)`.
        log_posterior: `(q, z) -> log q(z | x)`; None where q can only be sampled.
        entropy: `q -> [B, *J]`, the entropy of q(z | x) by latent, in closed form.
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

    Attributes:
        init: makes parameters and state from an example input.
        apply: with `train=True`, batch normalization uses the statistics of the batch and updates
            its running ones, and random numbers, such as dropout's, are drawn from the key. With
            `train=False` the state is returned unchanged and the key is not used.
    """

    init: InitNetwork
    apply: ApplyNetwork
