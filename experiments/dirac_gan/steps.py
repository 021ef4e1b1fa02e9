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


ARMS = {
    **{game: GameRule(game, "simultaneous") for game in DIRAC_GAMES},
    **{
        f"{game}_alternating": GameRule(game, "alternating")
        for game in DIRAC_GAMES
        if game != "half_consensus"
    },
    **{
        f"gan_{rule}": GameRule("gan", rule)
        for rule in ("consensus", "extragradient", "optimistic")
    },
}


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
    return rule(players, dirac_optimizers(game, step_size), replica)


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
    start = rule.init(jax.random.key(0), *dirac_gan().init(jax.random.key(0)))

    def step(now, _):
        moved, _ = rule.step(now, lambda index: {})
        return moved, jnp.stack([moved.params["generator"], moved.params["discriminator"]])

    _, path = jax.lax.scan(step, start, None, length=num_steps)
    return np.concatenate([np.ones((1, 2)), np.asarray(path)])


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
        start = rule.init(jax.random.key(0), *dirac_gan(start=(0.0, 0.0)).init(jax.random.key(0)))
        # One step stays at (0, 0), but an optimizer's first step may differ from later ones.
        start, _ = rule.step(start, lambda index: {})
        leaves, structure = jax.tree.flatten((start.params, start.opt_state))
        moving = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.floating)]

        def step(vector):
            carried = dict(enumerate(leaves)) | dict(zip(moving, vector, strict=True))
            params, opt_state = jax.tree.unflatten(
                structure, [carried[i] for i in range(len(leaves))]
            )
            moved, _ = rule.step(
                start._replace(params=params, opt_state=opt_state), lambda index: {}
            )
            return jnp.stack([jax.tree.leaves((moved.params, moved.opt_state))[i] for i in moving])

        jacobian = np.asarray(jax.jacfwd(step)(jnp.stack([leaves[i] for i in moving])))
    return sorted_eigenvalues(jacobian)
