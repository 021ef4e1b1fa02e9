"""Convergence of the Dirac-GAN: paths of the engine's own steps, and their spectrum."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import training
from dgm_jax.core import SOLO, Algorithm, Replica, lookup
from dgm_jax.models import DIRAC_GAMES, dirac_gan, dirac_optimizers, sorted_eigenvalues


class GameRule(NamedTuple):
    """A game of `models.DIRAC_GAMES` and the rule of `training.DYNAMICS` by which its
    players move."""

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
    arm: GameRule, step_size, replica: Replica = SOLO, *, updates: tuple[int, int] = (1, 1)
) -> Algorithm:
    """One step of the arm as the engine makes it; `updates` of generator and discriminator, in this
    order."""
    game = lookup(DIRAC_GAMES, arm.game, "game")
    rule = lookup(training.DYNAMICS, arm.dynamics, "dynamics")
    return rule(
        dirac_gan(game, updates=updates).players, dirac_optimizers(game, step_size), replica
    )


def trajectory(arm: GameRule, step_size: float, num_steps: int) -> np.ndarray:
    """float[T + 1, 2]: (theta, psi) after 0, 1, ..., T steps from (1, 1)."""
    rule = algorithm(arm, step_size)
    start = rule.init(jax.random.key(0), *dirac_gan().init(jax.random.key(0)))

    def step(now, _):
        moved, _ = rule.step(now, lambda index: {})
        return moved, jnp.stack([moved.params["generator"], moved.params["discriminator"]])

    _, path = jax.lax.scan(step, start, None, length=num_steps)
    return np.concatenate([np.ones((1, 2)), np.asarray(path)])


@functools.cache
def spectrum(arm: GameRule, step_size: float, updates: tuple[int, int] = (1, 1)) -> np.ndarray:
    """complex128[N]: eigenvalues at (0, 0) of one step, by `jacfwd` through the players and their
    optax updates.

    The step acts on all it carries: (theta, psi), and for `optimistic` the gradient that the
    optimizer remembers. Largest modulus first, and of a conjugate pair the one above the real axis.
    NaN for the gradient penalty, as (|psi| - 1)^2 has no derivative there. In double precision: at
    a double eigenvalue an error e becomes sqrt(e).
    """
    if DIRAC_GAMES[arm.game].penalty == "gradient_penalty":
        return np.full(2, complex(np.nan, np.nan))
    with jax.enable_x64(True):
        rule = algorithm(arm, step_size, updates=updates)
        start = rule.init(jax.random.key(0), *dirac_gan(start=(0.0, 0.0)).init(jax.random.key(0)))
        # stays at (0, 0); an optimizer's first step may differ
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
