"""Gradients of a game: what each player sees, and how optax moves it.

The building blocks of the dynamics in `players.py`. A player's gradient is taken with
respect to its own parts only; opponents enter as constants, unless the player looks
ahead of their next updates.
"""

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
    Metrics,
    Params,
    Player,
    PyTree,
    Replica,
    StepInfo,
    TrainState,
    require,
)

# split(key)[i] equals fold_in(key, i), so the virtual updates need a branch of their own
LOOK_AHEAD = 0x6C6F6F6B


class Game(NamedTuple):
    """Players with their optimizers, and the device they run on."""

    players: dict[str, Player]
    optimizers: dict[str, optax.GradientTransformation]
    replica: Replica = SOLO


class Move(NamedTuple):
    """One player's gradient at one point, with what was seen on the way."""

    gradient: Params  # over the player's own parts
    aux: Aux
    loss: Array


def make_game(players, optimizers, replica: Replica) -> Game:
    """Checks that the players, their parts and their optimizers fit together.

    Raises ConfigError naming the two sides that disagree.
    """
    require(bool(players), "a game needs at least one player, got none")
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


def init_state(game: Game, key: Key, params: Params, state: PyTree) -> TrainState:
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
    player = game.players[name]

    def loss(parts):
        params = {**train_state.params, **parts}
        for opponent, num_steps in player.lookahead:
            params = look_ahead(
                game, opponent, num_steps, train_state._replace(params=params), batch, key
            )
        return _loss(name, player, params, train_state.state, batch, game.replica.fold_key(key))

    (value, aux), gradient = jax.value_and_grad(loss, has_aux=True)(own(player, train_state.params))
    return Move(*game.replica.average((gradient, aux, value)))


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

        gradient, aux = jax.grad(loss, has_aux=True)(own(player, now.params))
        gradient, state = game.replica.average((gradient, aux.state))
        return apply(game, name, now, gradient, state), None

    ahead, _ = jax.lax.scan(one, train_state, jnp.arange(num_steps))
    return ahead.params


def apply(
    game: Game, name: str, train_state: TrainState, gradient: Params, state: PyTree
) -> TrainState:
    """One optax update of one player: its parameters, its optimizer state, its model state."""
    player = game.players[name]
    parts = own(player, train_state.params)
    updates, opt_state = game.optimizers[name].update(gradient, train_state.opt_state[name], parts)
    return train_state._replace(
        params={**train_state.params, **cast(Params, optax.apply_updates(parts, updates))},
        state={**train_state.state, **own(player, state)},
        opt_state={**train_state.opt_state, name: opt_state},
    )


def loss_name(player: str) -> str:
    """The name of a player's loss among the metrics of a run."""
    return f"{player}_loss"


def step_info(reports: dict[str, tuple[Array, Metrics]]) -> StepInfo:
    """What the players report after a step, by player `(loss, metrics)`, as one.

    Raises ConfigError naming the players where two of them report a metric of one name, or where a
    metric has the name of a loss: one of the two would be lost.
    """
    losses = {name: loss for name, (loss, _) in reports.items()}
    loss_of = {loss_name(name): name for name in reports}
    reported_by = {}
    for name, (_, metrics) in reports.items():
        for metric in metrics:
            require(
                metric not in loss_of,
                f"player {name!r} reports a metric {metric!r}, which is the name of the loss of"
                f" player {loss_of.get(metric)!r}: give the metric another name",
            )
            require(
                metric not in reported_by,
                f"players {reported_by.get(metric)!r} and {name!r} both report a metric"
                f" {metric!r}, and one would overwrite the other: give each a name of its own",
            )
            reported_by[metric] = name
    return StepInfo(losses, {k: v for _, metrics in reports.values() for k, v in metrics.items()})


def as_algorithm(game: Game, step) -> Algorithm:
    """An `Algorithm` from a step function."""
    return Algorithm(
        init=lambda key, params, state: init_state(game, key, params, state), step=step
    )
