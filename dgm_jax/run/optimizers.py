"""Checks of the settings of a run's optimizers (`OptimizerConfig`)."""

from dgm_jax import training
from dgm_jax.core import lookup, require
from dgm_jax.run.settings import OptimizerConfig
from dgm_jax.training.optimizers import optimizer_of as optimizer_of


def validate(config: OptimizerConfig) -> None:
    """Check the settings of the optimizer.

    Args:
        config: the settings of a cell.

    Raises:
        ConfigError: a name is unknown, a number is out of its range, or what is asked for is
            another optimizer.
    """
    lookup(("auto", *training.OPTIMIZERS), config.optimizer, "optimizer")
    lookup(("auto", *training.SCHEDULES), config.schedule, "schedule")
    for name in ("b1", "b2"):
        value = getattr(config, name)
        require(value is None or 0 <= value < 1, f"{name} must be in [0, 1), got {value}")
    for name in ("weight_decay", "clip_norm"):
        value = getattr(config, name)
        require(value >= 0, f"{name} must be at least 0, got {value}")
    require(
        config.warmup_steps == 0 or 0 < config.warmup_steps < config.num_steps,
        f"warmup_steps must be at least 0 and less than num_steps, {config.num_steps}, got"
        f" {config.warmup_steps}",
    )
    require(
        config.optimizer != "adamw" or config.weight_decay > 0,
        "optimizer=adamw with weight_decay=0 is adam: give --weight_decay, such as 1e-4, or take"
        " adam",
    )
