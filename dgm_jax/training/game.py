"""Gradients of a game, and how optax applies them; the building blocks of `players.py`.

A player's gradient is taken with respect to its own parts only; opponents enter as constants,
unless the player looks ahead of their next updates.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax

from dgm_jax.core import (
    Algorithm,
    Array,
    Aux,
    Key,
    Params,
    Player,
    PyTree,
    State,
    StepInfo,
    TrainState,
    at_least_float32,
    require,
)
from dgm_jax.core.types import AlgorithmStep
from dgm_jax.training.microbatches import Loss, mean_over_microbatches
from dgm_jax.training.reports import kinds
from dgm_jax.training.setup import Game, parts_of

# split(key)[i] equals fold_in(key, i), so the keys of virtual updates are folded with this first.
LOOK_AHEAD = 0x6C6F6F6B

ValueFn = Callable[[Params], Array]  # of a player's own parts


class Move(NamedTuple):
    """One player's gradient at one point.

    Attributes:
        gradient: with respect to the player's own parts.
        aux: the `Aux` that the loss returned with its value.
        loss: the value of the loss.
    """

    gradient: Params
    aux: Aux
    loss: Array


def init_state(game: Game, key: Key, params: Params, state: State) -> TrainState:
    """Make the state before the first step.

    Args:
        game: players and optimizers.
        key: random key; it is split into the streams of noise and of data.
        params: parameters by part.
        state: model state by part.

    Returns:
        The training state at step 0.

    Raises:
        ConfigError: if a player owns an unknown part, or parameters that are not floating-point.
    """
    for name, player in game.players.items():
        known = {*params, *state}
        missing = [part for part in player.parts if part not in known]
        require(not missing, f"player {name!r} owns {missing}, but the parts are {sorted(known)}")
        dtypes = {x.dtype for x in jax.tree.leaves(parts_of(player, params))}
        not_floats = sorted(
            str(dtype) for dtype in dtypes if not jnp.issubdtype(dtype, jnp.inexact)
        )
        require(
            not not_floats,
            f"player {name!r}: parameters must be floating-point numbers, got"
            f" {', '.join(not_floats)}",
        )
    key_noise, key_data = jax.random.split(key)
    opt_state = {
        name: game.optimizers[name].init(parts_of(player, params))
        for name, player in game.players.items()
    }
    return TrainState(jnp.int32(0), key_noise, key_data, params, state, opt_state)


def move(game: Game, name: str, train_state: TrainState, batch: PyTree, key: Key) -> Move:
    """Compute a player's gradient with respect to its own parts.

    It is averaged over microbatches and devices.

    Args:
        game: players and optimizers.
        name: of the player.
        train_state: the point at which the gradient is taken.
        batch: the batch.
        key: random key of the loss.

    Returns:
        The gradient, with the loss and its `Aux`.
    """
    loss = loss_of_parts(game, name, train_state, batch, key)
    parts = parts_of(game.players[name], train_state.params)
    return _averaged_move(game, loss, parts)


def _averaged_move(game: Game, loss: Loss, parts: Params) -> Move:
    """Gradient, `Aux` and value of a loss, averaged over microbatches and devices."""

    def of_batch(batch: PyTree, key: Key) -> tuple[Params, Aux, Array]:
        (value, aux), gradient = jax.value_and_grad(loss.of, has_aux=True)(parts, batch, key)
        if game.replica.microbatches > 1:  # counts have means too
            aux = aux._replace(metrics=jax.tree.map(at_least_float32, aux.metrics))
        return gradient, aux, value

    move_of_device = mean_over_microbatches(game.replica, of_batch, loss)
    return Move(*game.replica.average(move_of_device))


def loss_of_parts(game: Game, name: str, train_state: TrainState, batch: PyTree, key: Key) -> Loss:
    """Make a player's loss a function of its own parts, with all else as in `train_state`.

    Args:
        game: players and optimizers.
        name: of the player.
        train_state: parameters of the other players, and the model state.
        batch: the batch. Where the player looks ahead, its opponents' updates use all of it, also
            for the loss on one of its microbatches.
        key: random key of the loss.

    Returns:
        The loss.
    """
    player = game.players[name]

    def loss(parts: Params, part_of_batch: PyTree, key_loss: Key) -> tuple[Array, Aux]:
        params = {**train_state.params, **parts}
        for opponent, num_steps in player.lookahead:
            params = look_ahead(
                game, opponent, num_steps, train_state._replace(params=params), batch, key
            )
        return _loss(name, player, params, train_state.state, part_of_batch, key_loss)

    return Loss(loss, batch, game.replica.fold_key(key))


def value_of_parts(game: Game, loss: Loss) -> ValueFn:
    """Make optax's `value_fn` of a player's loss, averaged over microbatches and devices.

    Args:
        game: for its replica.
        loss: of the player.

    Returns:
        `parts -> loss`.
    """

    def value(parts: Params) -> Array:
        of_batch = lambda batch, key: loss.of(parts, batch, key)[0]
        value = mean_over_microbatches(game.replica, of_batch, loss)
        return game.replica.average(value)

    return value


def _loss(name: str, player: Player, *arguments: Any) -> tuple[Array, Aux]:
    """The player's loss with its `Aux`; ConfigError if it returns anything else."""
    result = player.loss(*arguments)
    fits = isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Aux)
    require(
        fits,
        f"player {name!r}: the loss must return (scalar, Aux(state, metrics)), got {kinds(result)}",
    )
    require(
        jnp.shape(result[0]) == (),
        f"player {name!r}: the loss must be a scalar, got shape {jnp.shape(result[0])}",
    )
    return result


def look_ahead(
    game: Game, name: str, num_steps: int, train_state: TrainState, batch: PyTree, key: Key
) -> Params:
    """Compute the parameters after some optax updates of one player, differentiable in everything.

    All updates use the batch of the player that looks ahead, as in Metz et al. 2017. The opponent's
    loss must not stop the gradient at the parameters of that player. Adam's update has no
    derivative if a gradient has been exactly zero from the start (a dead unit): give it an
    `eps_root`, such as 1e-16, or the gradient is NaN there.

    Args:
        game: players and optimizers.
        name: of the player that is updated.
        num_steps: number of updates.
        train_state: where they start.
        batch: the batch of the player that looks ahead.
        key: random key of its loss.

    Returns:
        The parameters of all parts after the updates.
    """
    player = game.players[name]
    key_ahead = jax.random.fold_in(game.replica.fold_key(key), LOOK_AHEAD)

    def update(now: TrainState, index: Array) -> tuple[TrainState, None]:
        def loss_of(parts: Params, part_of_batch: PyTree, key_loss: Key) -> tuple[Array, Aux]:
            params = {**now.params, **parts}
            return _loss(name, player, params, now.state, part_of_batch, key_loss)

        loss = Loss(loss_of, batch, jax.random.fold_in(key_ahead, index))
        virtual = _averaged_move(game, loss, parts_of(player, now.params))
        return apply(game, name, now, virtual, value_of_parts(game, loss)), None

    ahead, _ = jax.lax.scan(update, train_state, jnp.arange(num_steps))
    return ahead.params


def apply(
    game: Game,
    name: str,
    train_state: TrainState,
    player_move: Move,
    value_fn: ValueFn | None = None,
) -> TrainState:
    """Make one optax update of one player: its parameters, optimizer state and model state.

    Args:
        game: the players and their optimizers.
        name: of the player.
        train_state: where the update starts.
        player_move: the gradient that it follows, the loss at that point and the model state after
            it.
        value_fn: `parts -> loss` on the same batch, for optimizers with a line search, which cannot
            move without it.

    Returns:
        The training state after the update. Transformations that take optax's extra arguments get
        `value`, `grad` and `value_fn`.
    """
    player = game.players[name]
    parts = parts_of(player, train_state.params)
    extra: dict[str, Any] = {"value": player_move.loss, "grad": player_move.gradient}
    if value_fn is not None:
        extra["value_fn"] = value_fn
    updates, opt_state = game.optimizer(name).update(
        player_move.gradient, train_state.opt_state[name], parts, **extra
    )
    new_parts = cast(Params, optax.apply_updates(parts, updates))
    return train_state._replace(
        params={**train_state.params, **new_parts},
        state={**train_state.state, **parts_of(player, player_move.aux.state)},
        opt_state={**train_state.opt_state, name: opt_state},
    )


def step_info(moves: dict[str, Move]) -> StepInfo:
    """Collect the losses and metrics of a step by player.

    Args:
        moves: by player.

    Returns:
        The report of the step.
    """
    return StepInfo(
        losses={name: player_move.loss for name, player_move in moves.items()},
        metrics={name: player_move.aux.metrics for name, player_move in moves.items()},
    )


def as_algorithm(game: Game, step: AlgorithmStep, num_batches: int = 1) -> Algorithm:
    """Make an `Algorithm` of a step function.

    Args:
        game: players and optimizers.
        step: `(train_state, draw) -> (train_state, StepInfo)`.
        num_batches: how many batches it draws.

    Returns:
        The algorithm.
    """

    def init(key: Key, params: Params, state: State) -> TrainState:
        return init_state(game, key, params, state)

    return Algorithm(init=init, step=step, num_batches=num_batches)
