"""A game: players with their optimizers, checked to fit together."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import optax

from dgm_jax.core import SOLO, Player, PyTree, Replica, described, require

Players = Mapping[str, Player]
Optimizers = optax.GradientTransformation | Mapping[str, optax.GradientTransformation]


class Game(NamedTuple):
    """Players with their optimizers, and the device they run on.

    Attributes:
        players: by name, in the order in which they move.
        optimizers: by the same names.
        replica: how this device takes part in a batch.
    """

    players: dict[str, Player]
    optimizers: dict[str, optax.GradientTransformation]
    replica: Replica = SOLO

    def optimizer(self, name: str) -> optax.GradientTransformationExtraArgs:
        """Look up a player's optimizer.

        Args:
            name: of the player.

        Returns:
            The optimizer, which takes optax's extra arguments `value`, `grad` and `value_fn`.
        """
        return optax.with_extra_args_support(self.optimizers[name])


def make_game(players: Players, optimizers: Optimizers, replica: Replica) -> Game:
    """Check that players, their parts and their optimizers fit together.

    Args:
        players: by name, in the order in which they move.
        optimizers: by the same names, or one for every player.
        replica: how this device takes part in a batch.

    Returns:
        The game.

    Raises:
        ConfigError: if they do not fit; the message names the two sides that disagree.
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
    owner: dict[str, str] = {}
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
        _require_lookahead(name, player, players)
    return Game(dict(players), dict(optimizers), replica)


def _require_lookahead(name: str, player: Player, players: Players) -> None:
    for opponent, num_steps in player.lookahead:
        require(
            opponent in players,
            f"player {name!r} looks ahead of {opponent!r}, not one of {sorted(players)}",
        )
        require(num_steps >= 0, f"player {name!r}: lookahead must be >= 0, got {num_steps}")


def by_player(players: Players, optimizers: Optimizers) -> dict[str, optax.GradientTransformation]:
    """Give each player an optimizer.

    Args:
        players: by name.
        optimizers: by name, or one for every player.

    Returns:
        Optimizers by name.

    Raises:
        ConfigError: for anything that is not an optimizer of optax.
    """
    kind = optax.GradientTransformation
    if isinstance(optimizers, kind):
        return dict.fromkeys(players, optimizers)
    require(
        isinstance(optimizers, Mapping) and all(isinstance(o, kind) for o in optimizers.values()),
        "optimizers must be one of optax, such as optax.adam(1e-4), or one for each player by name;"
        f" got {_entries(optimizers)}",
    )
    return dict(optimizers)


def _entries(value: Any) -> str:
    """Describe what came instead of a dictionary, or each of its entries."""
    if not isinstance(value, Mapping):
        return described(value)
    return ", ".join(f"{name!r}: {described(entry)}" for name, entry in value.items()) or "{}"


def parts_of(player: Player, tree: dict[str, PyTree]) -> dict[str, PyTree]:
    """Select the parts that a player owns.

    Args:
        player: the player.
        tree: parameters or states by part.

    Returns:
        Its entries of the player's parts.
    """
    return {part: tree[part] for part in player.parts if part in tree}
