"""Gradients of a game: what each player sees, and how optax moves it.

The building blocks of the dynamics in `players.py`. A player's gradient is taken with
respect to its own parts only; opponents enter as constants, unless the player looks
ahead of their next updates.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax

from dgm_jax.core import (
    SOLO,
    Algorithm,
    Array,
    Aux,
    Key,
    Params,
    Player,
    PyTree,
    Replica,
    State,
    StepInfo,
    TrainState,
    described,
    require,
)

# split(key)[i] equals fold_in(key, i), so the virtual updates need a branch of their own
LOOK_AHEAD = 0x6C6F6F6B

ValueFn = Callable[[Params], Array]  # a player's own parts -> its loss


class Game(NamedTuple):
    """Players with their optimizers, and the device they run on."""

    players: dict[str, Player]
    optimizers: dict[str, optax.GradientTransformation]
    replica: Replica = SOLO

    def optimizer(self, name: str) -> optax.GradientTransformationExtraArgs:
        """A player's optimizer, which takes the extra arguments `value`, `grad` and `value_fn`."""
        return optax.with_extra_args_support(self.optimizers[name])


class Move(NamedTuple):
    """One player's gradient at one point, with what was seen on the way."""

    gradient: Params  # over the player's own parts
    aux: Aux
    loss: Array


def make_game(players, optimizers, replica: Replica) -> Game:
    """Checks that the players, their parts and their optimizers fit together.

    Raises ConfigError naming the two sides that disagree.
    """
    require(
        isinstance(players, Mapping) and all(isinstance(p, Player) for p in players.values()),
        f"players must be {{name: core.Player}}, such as Model.players; got {_entries(players)}",
    )
    require(bool(players), "a game needs at least one player, got none")
    optimizers = by_player(players, optimizers)
    require(
        set(players) == set(optimizers),
        f"players and optimizers must have the same names, got {sorted(players)} and"
        f" {sorted(optimizers)}",
    )
    owner = {}
    for name, player in players.items():
        require(
            not isinstance(player.parts, str),
            f"player {name!r}: parts must be a tuple of names, such as "
            f"({player.parts!r},); got the text {player.parts!r}",
        )
        require(
            player.num_updates >= 1,
            f"player {name!r}: num_updates must be at least 1, got {player.num_updates}",
        )
        for part in player.parts:
            require(
                part not in owner,
                f"part {part!r} is owned by both {owner.get(part)!r} and {name!r}",
            )
            owner[part] = name
        for opponent, steps in player.lookahead:
            require(
                opponent in players,
                f"player {name!r} looks ahead of {opponent!r}, not one of {sorted(players)}",
            )
            require(steps >= 0, f"player {name!r}: lookahead must be >= 0, got {steps}")
    return Game(dict(players), dict(optimizers), replica)


def by_player(players, optimizers) -> dict[str, optax.GradientTransformation]:
    """Optimizers by the player's name; a single one is that of each player.

    Raises ConfigError for what is no optimizer of optax.
    """
    if isinstance(optimizers, optax.GradientTransformation):
        return dict.fromkeys(players, optimizers)
    kind = optax.GradientTransformation
    fits = isinstance(optimizers, Mapping) and all(
        isinstance(one, kind) for one in optimizers.values()
    )
    require(
        fits,
        "optimizers must be one of optax, such as optax.adam(1e-4), or one for each player by name;"
        f" got {_entries(optimizers)}",
    )
    return dict(optimizers)


def _entries(value) -> str:
    """What came where a dictionary was due, each entry in a few words."""
    if not isinstance(value, Mapping):
        return described(value)
    return ", ".join(f"{name!r}: {described(entry)}" for name, entry in value.items()) or "{}"


def init_state(game: Game, key: Key, params: Params, state: State) -> TrainState:
    """The state before the first step. The key is split into noise and data streams."""
    for name, player in game.players.items():
        missing = [part for part in player.parts if part not in params and part not in state]
        require(
            not missing,
            f"player {name!r} owns {missing}, but the parts are {sorted({*params, *state})}",
        )
        kinds = {
            str(x.dtype)
            for x in jax.tree.leaves(own(player, params))
            if not jnp.issubdtype(x.dtype, jnp.inexact)
        }
        require(
            not kinds,
            f"player {name!r}: parameters must be floating-point numbers, got"
            f" {', '.join(sorted(kinds))}",
        )
    key_noise, key_data = jax.random.split(key)
    opt_state = {
        name: game.optimizers[name].init(own(player, params))
        for name, player in game.players.items()
    }
    return TrainState(jnp.int32(0), key_noise, key_data, params, state, opt_state)


def own(player: Player, tree: dict[str, PyTree]) -> dict[str, PyTree]:
    """The entries of a dictionary by part that belong to the player."""
    return {part: tree[part] for part in player.parts if part in tree}


def move(game: Game, name: str, train_state: TrainState, batch: PyTree, key: Key) -> Move:
    """The gradient of a player's loss with respect to its own parts, averaged over devices."""
    loss = loss_of_parts(game, name, train_state, batch, key)
    parts = own(game.players[name], train_state.params)
    (value, aux), gradient = jax.value_and_grad(loss, has_aux=True)(parts)
    return Move(*game.replica.average((gradient, aux, value)))


def loss_of_parts(
    game: Game, name: str, train_state: TrainState, batch: PyTree, key: Key
) -> Callable[[Params], tuple[Array, Aux]]:
    """A player's loss as a function of its own parts, all else as it is in `train_state`."""
    player = game.players[name]

    def loss(parts: Params) -> tuple[Array, Aux]:
        params = {**train_state.params, **parts}
        for opponent, num_steps in player.lookahead:
            params = look_ahead(
                game, opponent, num_steps, train_state._replace(params=params), batch, key
            )
        return _loss(name, player, params, train_state.state, batch, game.replica.fold_key(key))

    return loss


def value_of_parts(game: Game, loss: Callable[[Params], tuple[Array, Aux]]) -> ValueFn:
    """optax's `value_fn`: the value of a player's loss, averaged over devices."""
    return lambda parts: game.replica.average(loss(parts)[0])


def _loss(name: str, player: Player, *arguments) -> tuple[Array, Aux]:
    """The player's loss with its `Aux`; ConfigError for anything else."""
    found = player.loss(*arguments)
    fits = isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], Aux)
    kind = [type(x).__name__ for x in found] if type(found) is tuple else type(found).__name__
    require(
        fits, f"player {name!r}: the loss must return (scalar, Aux(state, metrics)), got {kind}"
    )
    require(
        jnp.shape(found[0]) == (),
        f"player {name!r}: the loss must be a scalar, got shape {jnp.shape(found[0])}",
    )
    return found


def look_ahead(
    game: Game, name: str, num_steps: int, train_state: TrainState, batch: PyTree, key: Key
) -> Params:
    """Parameters after `num_steps` optax updates of one player, differentiable in everything.

    All of them see the batch of the player that looks ahead, as Metz et al. 2017 do. The opponent's
    loss must not stop the gradient at the parameters of the player that looks. Adam's update has no
    derivative where a gradient has been exactly zero from the start (a dead unit): give it an
    `eps_root`, such as 1e-16, or the gradient is NaN there.
    """
    player = game.players[name]
    key_ahead = jax.random.fold_in(game.replica.fold_key(key), LOOK_AHEAD)

    def one(now, index):
        def loss(parts):
            return _loss(
                name,
                player,
                {**now.params, **parts},
                now.state,
                batch,
                jax.random.fold_in(key_ahead, index),
            )

        (value, aux), gradient = jax.value_and_grad(loss, has_aux=True)(own(player, now.params))
        seen = Move(*game.replica.average((gradient, aux, value)))
        return apply(game, name, now, seen, value_of_parts(game, loss)), None

    ahead, _ = jax.lax.scan(one, train_state, jnp.arange(num_steps))
    return ahead.params


def apply(
    game: Game,
    name: str,
    train_state: TrainState,
    seen: Move,
    value_fn: ValueFn | None = None,
) -> TrainState:
    """One optax update of one player: its parameters, its optimizer state, its model state.

    Args:
      game: the players and their optimizers.
      name: of the player.
      train_state: where the update starts from.
      seen: the gradient that it follows, the loss at that point and the model state after it.
      value_fn: `parts -> loss` on the same batch, for optimizers that search along a line; without
        it they cannot move.

    Returns:
      The train state after it. Transformations that take optax's extra arguments get `value`,
      `grad` and `value_fn`.
    """
    player = game.players[name]
    parts = own(player, train_state.params)
    extra = {"value": seen.loss, "grad": seen.gradient}
    if value_fn is not None:
        extra["value_fn"] = value_fn
    updates, opt_state = game.optimizer(name).update(
        seen.gradient, train_state.opt_state[name], parts, **extra
    )
    return train_state._replace(
        params={**train_state.params, **cast(Params, optax.apply_updates(parts, updates))},
        state={**train_state.state, **own(player, seen.aux.state)},
        opt_state={**train_state.opt_state, name: opt_state},
    )


def step_info(moves: dict[str, Move]) -> StepInfo:
    """What the players report after a step, by player."""
    return StepInfo(
        {name: seen.loss for name, seen in moves.items()},
        {name: seen.aux.metrics for name, seen in moves.items()},
    )


def as_algorithm(game: Game, step) -> Algorithm:
    """An `Algorithm` from a step function."""
    return Algorithm(
        init=lambda key, params, state: init_state(game, key, params, state), step=step
    )
