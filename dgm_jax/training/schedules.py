"""Learning-rate schedules that accept traced numbers, by optax."""

import optax

from dgm_jax.core import Array, lookup

SCHEDULES = {
    "constant": lambda peak, num_steps: optax.constant_schedule(peak),
    "cosine": lambda peak, num_steps: optax.cosine_decay_schedule(peak, num_steps),
    "linear": lambda peak, num_steps: optax.linear_schedule(peak, 0.0, num_steps),
}


def learning_rate(name: str, peak: float | Array, num_steps: int) -> optax.Schedule:
    """Make a schedule of the learning rate: constant, or cosine or linear to zero.

    optax counts a player's own updates: for a player with `num_updates=n`, num_steps is n times the
    number of steps of the game.

    Args:
        name: "constant", "cosine" or "linear".
        peak: the rate at the start; may be traced.
        num_steps: number of updates after which the rate is zero.

    Returns:
        `update -> learning rate`.

    Raises:
        ConfigError: for another name.
    """
    return lookup(SCHEDULES, name, "schedule")(peak, num_steps)
