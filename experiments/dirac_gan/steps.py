"""Convergence of the Dirac-GAN: paths of the engine's own steps, and the spectrum of a step."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import training
from dgm_jax.core import SOLO, Algorithm, Array, Replica, lookup
from dgm_jax.models import DIRAC_GAMES, dirac_gan, dirac_optimizers, sorted_eigenvalues


class GameRule(NamedTuple):
    """A game, and the rule by which its players move.

    Attributes:
        game: of `models.DIRAC_GAMES`.
        dynamics: of `training.DYNAMICS`.
    """

    game: str
    dynamics: str


def _arms() -> dict[str, GameRule]:
    """All games by simultaneous and by alternating steps, and the GAN by other rules."""
    arms = {game: GameRule(game, "simultaneous") for game in DIRAC_GAMES}
    for game in DIRAC_GAMES:
        if game != "half_consensus":
            arms[f"{game}_alternating"] = GameRule(game, "alternating")
    for rule in ("consensus", "extragradient", "optimistic"):
        arms[f"gan_{rule}"] = GameRule("gan", rule)
    return arms


ARMS = _arms()


def algorithm(
    arm: GameRule,
    step_size: float | Array,
    replica: Replica = SOLO,
    *,
    updates: tuple[int, int] = (1, 1),
) -> Algorithm:
    """Make the arm's algorithm as the engine runs it.

    Args:
        arm: game and rule.
        step_size: of both players.
        replica: how this device takes part in a batch.
        updates: of generator and discriminator in a step.

    Returns:
        The algorithm.
    """
    game = lookup(DIRAC_GAMES, arm.game, "game")
    rule = lookup(training.DYNAMICS, arm.dynamics, "dynamics")
    players = dirac_gan(game, updates=updates).players
    optimizers = dirac_optimizers(game, step_size)
    return rule(players, optimizers, replica)


def trajectory(arm: GameRule, step_size: float, num_steps: int) -> np.ndarray:
    """Compute the path of the players from (1, 1).

    Args:
        arm: game and rule.
        step_size: of both players.
        num_steps: T.

    Returns:
        float[T + 1, 2]: (theta, psi) after 0, 1, ..., T steps.
    """
    rule = algorithm(arm, step_size)
    key = jax.random.key(0)
    params, state = dirac_gan().init(key)
    start = rule.init(key, params, state)

    def step(train_state, _):
        moved, _ = rule.step(train_state, _empty_batch)
        theta = moved.params["generator"]
        psi = moved.params["discriminator"]
        return moved, jnp.stack([theta, psi])

    _, path = jax.lax.scan(step, start, None, length=num_steps)
    first = np.ones((1, 2))
    return np.concatenate([first, np.asarray(path)])


def _empty_batch(index):
    return {}


@functools.cache
def spectrum(arm: GameRule, step_size: float, updates: tuple[int, int] = (1, 1)) -> np.ndarray:
    """Compute the eigenvalues of one step at (0, 0), by `jacfwd` through the players and optax.

    The step acts on all it carries: (theta, psi), and for `optimistic` the gradient that the
    optimizer stores. In double precision: at a double eigenvalue an error e becomes sqrt(e).

    Args:
        arm: game and rule.
        step_size: of both players.
        updates: of generator and discriminator in a step.

    Returns:
        complex128[N], largest modulus first, and of a conjugate pair the one above the real axis.
        NaN for the gradient penalty, as (|psi| - 1)^2 has no derivative there.
    """
    if DIRAC_GAMES[arm.game].penalty == "gradient_penalty":
        return np.full(2, complex(np.nan, np.nan))
    with jax.enable_x64(True):
        rule = algorithm(arm, step_size, updates=updates)
        key = jax.random.key(0)
        params, state = dirac_gan(start=(0.0, 0.0)).init(key)
        start = rule.init(key, params, state)
        # One step stays at (0, 0), but an optimizer's first step may differ from later ones.
        start, _ = rule.step(start, _empty_batch)
        leaves, structure = jax.tree.flatten((start.params, start.opt_state))
        moving = []
        for i, leaf in enumerate(leaves):
            if jnp.issubdtype(leaf.dtype, jnp.floating):
                moving.append(i)

        def step(vector):
            carried = list(leaves)
            for i, value in zip(moving, vector, strict=True):
                carried[i] = value
            params, opt_state = jax.tree.unflatten(structure, carried)
            train_state = start._replace(params=params, opt_state=opt_state)
            moved, _ = rule.step(train_state, _empty_batch)
            new_leaves = jax.tree.leaves((moved.params, moved.opt_state))
            return jnp.stack([new_leaves[i] for i in moving])

        at_equilibrium = jnp.stack([leaves[i] for i in moving])
        jacobian = np.asarray(jax.jacfwd(step)(at_equilibrium))
    return sorted_eigenvalues(jacobian)
