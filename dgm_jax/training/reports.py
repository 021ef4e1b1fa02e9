"""What a step reports: checks of its form, and the names under which it is recorded."""

from typing import Any

from dgm_jax.core import Metrics, StepInfo, TrainState, described, require

LOSS = "loss"  # the name of a player's loss among its metrics


def checked(result: Any) -> tuple[TrainState, StepInfo]:
    """Check the result of an algorithm's step.

    Args:
        result: what `Algorithm.step` returned.

    Returns:
        The next state and the report.

    Raises:
        ConfigError: if it is anything else.
    """
    fits = isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], StepInfo)
    require(
        fits,
        f"Algorithm.step must return (train_state, StepInfo(losses, metrics)); got {kinds(result)}",
    )
    return result


def recorded(info: StepInfo) -> Metrics:
    """Name losses and metrics of a step as a run records them, `player.metric`.

    Args:
        info: the report of the step.

    Returns:
        All values in one dictionary.

    Raises:
        ConfigError: if a player reports a metric by the name of its loss.
    """
    clashes = sorted(player for player, metrics in info.metrics.items() if LOSS in metrics)
    require(
        not clashes,
        f"players {clashes} report a metric {LOSS!r}, which is the name of a player's own loss in"
        " the records: give the metric another name",
    )
    recorded = {f"{player}.{LOSS}": loss for player, loss in info.losses.items()}
    for player, metrics in info.metrics.items():
        recorded |= {f"{player}.{name}": value for name, value in metrics.items()}
    return recorded


def kinds(value: Any) -> str:
    """Describe a value for messages; for a tuple, its items.

    Args:
        value: any value.

    Returns:
        Dtype and shape of an array, the type of most other things (`core.described`).
    """
    if type(value) is tuple:
        return f"({', '.join(map(described, value))})"
    return described(value)
