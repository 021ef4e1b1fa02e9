"""Dynamics of a game: how several players, each with an optax optimizer, move.

Write v(w) for the vector of all players' gradients, each with respect to that player's parts.

| function | update | source |
| --- | --- | --- |
| `alternating` | in turn, each from where the last one left | Goodfellow et al. 2014, alg. 1 |
| `simultaneous` | w - eta v(w) | Mescheder et al. 2017, algorithm 1 |
| `extragradient` | w - eta v(w - eta v(w)) | Korpelevich 1976; Gidel et al. 2019, eq. 10 |
| `optimistic` | w - eta (2 v(w_t) - v(w_{t-1})) | Daskalakis et al. 2018, eq. 5 |
| `consensus` | w - eta (v + gamma grad 1/2 ||v||^2) | Mescheder et al. 2017, algorithm 2 |

Each takes `(players, optimizers, replica)` and returns `Algorithm(init, step)`; one optimizer in
place of the dictionary is every player's. With one player all of them but `extragradient` and
`optimistic` are plain gradient descent.

A player's update changes the parameters and the model state of its own parts, and nothing else:
what a loss returns as another part's state is discarded. So the generator's step cannot advance the
discriminator's power iteration, nor the other way round.

Randomness: step t uses `fold_in(key, t)`, so a resumed run repeats its noise; batch i of the stream
is a function of (data_key, i), so it repeats its data.
"""

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
    PyTree,
    Registry,
    Replica,
    StepInfo,
    TrainState,
    require,
)
from dgm_jax.core.types import DrawBatch
from dgm_jax.training.game import (
    Move,
    apply,
    as_algorithm,
    loss_of_parts,
    move,
    step_info,
    value_of_parts,
)
from dgm_jax.training.setup import Game, Optimizers, Players, by_player, make_game, parts_of


def alternating(players: Players, optimizers: Optimizers, replica: Replica = SOLO) -> Algorithm:
    """Players move in the order of the dictionary; each sees the others' newest parameters.

    A player with `num_updates=n` makes n updates, each on a fresh batch and key: the step draws
    sum(num_updates) batches.

    Args:
        players: by name, in the order in which they move.
        optimizers: by the same names, or one for every player.
        replica: how this device takes part in a batch.

    Returns:
        The algorithm.

    Raises:
        ConfigError: if players and optimizers do not fit together.
    """
    game = make_game(players, optimizers, replica)
    updates_per_step = sum(player.num_updates for player in game.players.values())

    def step(train_state: TrainState, draw: DrawBatch) -> tuple[TrainState, StepInfo]:
        key = jax.random.fold_in(train_state.key, train_state.step)
        index = train_state.step * updates_per_step
        moved = train_state
        moves = {}
        for rank, (name, player) in enumerate(game.players.items()):
            key_player = jax.random.fold_in(key, rank)
            moved, moves[name] = _updates(game, name, moved, draw, index, key_player)
            index = index + player.num_updates
        return moved._replace(step=train_state.step + 1), step_info(moves)

    return as_algorithm(game, step, updates_per_step)


def _updates(
    game: Game,
    name: str,
    train_state: TrainState,
    draw: DrawBatch,
    index: Array,
    key: Key,
) -> tuple[TrainState, Move]:
    """`num_updates` updates of one player, and the last of its moves."""

    def update(now: TrainState, i: int | Array) -> tuple[TrainState, Move]:
        batch = draw(index + i)
        key_update = jax.random.fold_in(key, i)
        player_move = move(game, name, now, batch, key_update)
        loss = loss_of_parts(game, name, now, batch, key_update)
        return apply(game, name, now, player_move, value_of_parts(game, loss)), player_move

    num_updates = game.players[name].num_updates
    if num_updates == 1:
        return update(train_state, 0)

    def without_gradient(now: TrainState, i: Array) -> tuple[TrainState, tuple[Array, Metrics]]:
        now, player_move = update(now, i)
        return now, (player_move.loss, player_move.aux.metrics)

    train_state, reports = jax.lax.scan(without_gradient, train_state, jnp.arange(num_updates))
    loss, metrics = jax.tree.map(lambda x: x[-1], reports)
    return train_state, Move({}, Aux({}, metrics), loss)


def simultaneous(players: Players, optimizers: Optimizers, replica: Replica = SOLO) -> Algorithm:
    """All players move at once from the same point, on the same batch.

    Args:
        players: by name.
        optimizers: by the same names, or one for every player.
        replica: how this device takes part in a batch.

    Returns:
        The algorithm.

    Raises:
        ConfigError: if players and optimizers do not fit together, or `num_updates` is not 1.
    """
    game = _one_update_each(players, optimizers, replica, "simultaneous")

    def step(train_state: TrainState, draw: DrawBatch) -> tuple[TrainState, StepInfo]:
        batch = draw(train_state.step)
        return _advance(game, train_state, batch, _field(game, train_state, batch))

    return as_algorithm(game, step)


def extragradient(players: Players, optimizers: Optimizers, replica: Replica = SOLO) -> Algorithm:
    """Look one simultaneous step ahead, and move from the start with the gradient computed there.

    The look-ahead uses the players' optimizers and leaves their states unchanged. Both gradients
    use the same batch and noise (the "same-sample" variant).

    Args:
        players: by name.
        optimizers: by the same names, or one for every player.
        replica: how this device takes part in a batch.

    Returns:
        The algorithm.

    Raises:
        ConfigError: if players and optimizers do not fit together, or `num_updates` is not 1.
    """
    game = _one_update_each(players, optimizers, replica, "extragradient")

    def step(train_state: TrainState, draw: DrawBatch) -> tuple[TrainState, StepInfo]:
        batch = draw(train_state.step)
        ahead, _ = _advance(game, train_state, batch, _field(game, train_state, batch))
        moves = _field(game, train_state._replace(params=ahead.params), batch)
        return _advance(game, train_state, batch, moves)

    return as_algorithm(game, step)


def optimistic(players: Players, optimizers: Optimizers, replica: Replica = SOLO) -> Algorithm:
    """Simultaneous updates along 2 v(w_t) - v(w_{t-1}), with v(w_{-1}) = v(w_0) as in optax.

    So the first update is a plain one.

    Args:
        players: by name.
        optimizers: by the same names, or one for every player.
        replica: how this device takes part in a batch.

    Returns:
        The algorithm.

    Raises:
        ConfigError: if players and optimizers do not fit together, or `num_updates` is not 1.
    """
    optimizers = {
        name: optax.chain(optax.scale_by_optimistic_gradient(), optimizer)
        for name, optimizer in by_player(players, optimizers).items()
    }
    return simultaneous(players, optimizers, replica)


def consensus(
    players: Players,
    optimizers: Optimizers,
    replica: Replica = SOLO,
    *,
    strength: float | Array = 1.0,
) -> Algorithm:
    """Simultaneous updates along v + strength * J^T v, where J^T v = grad of 1/2 ||v||^2.

    Args:
        players: by name.
        optimizers: by the same names, or one for every player.
        replica: how this device takes part in a batch.
        strength: gamma of Mescheder et al. 2017; may be traced.

    Returns:
        The algorithm.

    Raises:
        ConfigError: if players and optimizers do not fit together, or `num_updates` is not 1.
    """
    game = _one_update_each(players, optimizers, replica, "consensus")

    def step(train_state: TrainState, draw: DrawBatch) -> tuple[TrainState, StepInfo]:
        batch = draw(train_state.step)
        owned: Params = {}
        for player in game.players.values():
            owned |= parts_of(player, train_state.params)

        def field(parts: Params) -> tuple[Params, dict[str, Move]]:
            moved = train_state._replace(params={**train_state.params, **parts})
            moves = _field(game, moved, batch)
            return _by_part(moves), moves

        v, pull_back, moves = jax.vjp(field, owned, has_aux=True)
        # The Jacobian is that of this device's part of the batch, so it is averaged too.
        (jacobian_v,) = replica.average(pull_back(v))
        total = jax.tree.map(lambda g, c: g + strength * c, v, jacobian_v)
        for name, player in game.players.items():
            moves[name] = moves[name]._replace(gradient=parts_of(player, total))
        return _advance(game, train_state, batch, moves)

    return as_algorithm(game, step)


def _one_update_each(players: Players, optimizers: Optimizers, replica: Replica, rule: str) -> Game:
    """A game for a rule that moves every player once per step."""
    game = make_game(players, optimizers, replica)
    for name, player in game.players.items():
        require(
            player.num_updates == 1,
            f"{rule} moves every player once a step, but {name!r} asks for {player.num_updates}"
            " updates; use `alternating`, or give the players different learning rates",
        )
    return game


def _player_keys(game: Game, train_state: TrainState) -> dict[str, Key]:
    """A key for each player, if all of them move once per step."""
    key = jax.random.fold_in(train_state.key, train_state.step)
    return {name: jax.random.fold_in(key, rank) for rank, name in enumerate(game.players)}


def _field(game: Game, train_state: TrainState, batch: PyTree) -> dict[str, Move]:
    """Every player's move at one point."""
    keys = _player_keys(game, train_state)
    return {name: move(game, name, train_state, batch, keys[name]) for name in game.players}


def _by_part(moves: dict[str, Move]) -> Params:
    """All players' gradients by part."""
    gradients: Params = {}
    for player_move in moves.values():
        gradients |= player_move.gradient
    return gradients


def _advance(
    game: Game, train_state: TrainState, batch: PyTree, moves: dict[str, Move]
) -> tuple[TrainState, StepInfo]:
    """Apply every player's move at the old point."""
    keys = _player_keys(game, train_state)
    moved = train_state
    for name, player_move in moves.items():
        loss = loss_of_parts(game, name, train_state, batch, keys[name])
        moved = apply(game, name, moved, player_move, value_of_parts(game, loss))
    return moved._replace(step=train_state.step + 1), step_info(moves)


DYNAMICS = Registry(
    "dynamics",
    {
        "alternating": alternating,
        "consensus": consensus,
        "extragradient": extragradient,
        "optimistic": optimistic,
        "simultaneous": simultaneous,
    },
)
