"""The optimizer of a player, from the settings of a run (`OptimizerConfig`)."""

from typing import Any

from dgm_jax import training
from dgm_jax.core import lookup, require
from dgm_jax.run.settings import OptimizerConfig


def optimizer_of(
    config: OptimizerConfig,
    hyper: dict[str, Any],
    learning_rate: Any,
    *,
    name: str = "adam",
    schedule: str | None = None,
    b1: float | None = None,
    b2: float | None = None,
    eps_root: float = 0.0,
    num_updates: int = 1,
    num_steps: int | None = None,
) -> training.Optimizer:
    """Make the optimizer of a player: the experiment's own, changed as the settings say.

    Args:
        config: the settings.
        hyper: values of `OPTIMIZER_SWEEPABLE`, as `build` gets them.
        learning_rate: the player's, at its peak; may be traced.
        name: the experiment's own optimizer, of `training.OPTIMIZERS`.
        schedule: its own schedule, of `training.SCHEDULES`; None for a plain number.
        b1: its own decay of the mean of gradients; None for the optimizer's default. A chosen
            optimizer that has none ignores it: `OPTIMIZER_READ_WHERE` says where it is read.
        b2: the same of squared gradients.
        eps_root: as of `training.optimizer`.
        num_updates: updates of the player in a step.
        num_steps: steps after which the player's rate is zero; None for all of the run.

    Returns:
        The optimizer.
    """
    if config.optimizer != "auto":
        name = config.optimizer
        b1 = None
        b2 = None
    decays = {
        decay: own if hyper[decay] is None else hyper[decay]
        for decay, own in (("b1", b1), ("b2", b2))
        if getattr(training.OPTIMIZERS[name], decay) is not None
    }
    scheduled = schedule if config.schedule == "auto" else config.schedule
    if scheduled is not None or config.warmup_steps:
        learning_rate = training.learning_rate(
            scheduled or "constant",
            learning_rate,
            num_updates * (config.num_steps if num_steps is None else num_steps),
            num_updates * config.warmup_steps,
        )
    return training.optimizer(
        name,
        learning_rate,
        **decays,
        weight_decay=hyper["weight_decay"],
        clip_norm=hyper["clip_norm"],
        eps_root=eps_root,
    )


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
