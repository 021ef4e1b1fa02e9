"""Learning-rate schedules that accept traced numbers; a thin layer over optax."""

import optax

from dgm_jax.core import lookup

SCHEDULES = {
    "constant": lambda peak, num_steps: optax.constant_schedule(peak),
    "cosine": lambda peak, num_steps: optax.cosine_decay_schedule(peak, num_steps),
    "linear": lambda peak, num_steps: optax.linear_schedule(peak, 0.0, num_steps),
}


def learning_rate(name: str, peak, num_steps: int):
    """A schedule `update -> learning rate` that starts at `peak`: constant, cosine or linear (both
    to zero).

    optax counts a player's own updates: for a player with `num_updates=n`, num_steps is n times the
    steps of the game.
    """
    return lookup(SCHEDULES, name, "schedule")(peak, num_steps)
