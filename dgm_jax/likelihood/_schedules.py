"""Schedules of annealing: beta from 0 to 1."""

import numpy as np

from dgm_jax.core import require


def linear(num_steps: int) -> np.ndarray:
    """The schedule beta_t = t / T.

    Args:
        num_steps: T, at least 1.

    Returns:
        beta, float64[T + 1].

    Raises:
        ConfigError: num_steps below 1.

    Example:
        >>> annealing.linear(2).tolist()
        [0.0, 0.5, 1.0]
    """
    require(num_steps >= 1, f"num_steps must be at least 1; got {num_steps}")
    return np.arange(num_steps + 1) / num_steps


def sigmoid(num_steps: int, radius: float = 4.0) -> np.ndarray:
    """The schedule with equal steps of the logit, rescaled to [0, 1]: dense at both ends.

    Grosse et al. 2015.

    Args:
        num_steps: T, at least 1.
        radius: the logit runs from -radius to radius.

    Returns:
        beta, float64[T + 1].

    Raises:
        ConfigError: num_steps below 1, or a radius that is not positive.

    Example:
        >>> annealing.sigmoid(2).tolist()
        [0.0, 0.5, 1.0]
    """
    require(radius > 0, f"radius must be positive; got {radius}")
    value = 1 / (1 + np.exp(-radius * (2 * linear(num_steps) - 1)))
    return (value - value[0]) / (value[-1] - value[0])


SCHEDULES = {"linear": linear, "sigmoid": sigmoid}
