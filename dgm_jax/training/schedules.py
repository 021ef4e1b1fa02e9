"""Learning-rate schedules that accept traced numbers, by optax."""

import optax

from dgm_jax.core import Array, Registry, require

SCHEDULES = Registry(
    "schedule",
    {
        "constant": lambda peak, num_steps: optax.constant_schedule(peak),
        "cosine": lambda peak, num_steps: optax.cosine_decay_schedule(peak, num_steps),
        "linear": lambda peak, num_steps: optax.linear_schedule(peak, 0.0, num_steps),
    },
)


def learning_rate(
    name: str, peak: float | Array, num_steps: int, warmup_steps: int = 0
) -> optax.Schedule:
    """Make a schedule of the learning rate: constant, or cosine or linear to zero.

    optax counts a player's own updates: for a player with `num_updates=n`, num_steps and
    warmup_steps are n times the numbers of steps of the game.

    Args:
        name: "constant", "cosine" or "linear".
        peak: the rate at the start, or after the warm-up; may be traced.
        num_steps: number of updates after which the rate is zero.
        warmup_steps: number of updates, part of num_steps, in which the rate rises linearly from
            zero to the peak.

    Returns:
        `update -> learning rate`.

    Raises:
        ConfigError: for another name, or if the warm-up is as long as the schedule or longer.
    """
    schedule = SCHEDULES[name]
    require(
        warmup_steps == 0 or 0 < warmup_steps < num_steps,
        f"warmup_steps must be at least 0 and less than {num_steps}, the steps of the schedule,"
        f" got {warmup_steps}",
    )
    if not warmup_steps:
        return schedule(peak, num_steps)
    rise = optax.linear_schedule(0.0, peak, warmup_steps)
    return optax.join_schedules([rise, schedule(peak, num_steps - warmup_steps)], [warmup_steps])
