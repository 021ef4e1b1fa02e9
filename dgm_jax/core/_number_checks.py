"""Checks of numbers and arrays by their values, where these are known.

Inside a compiled program a number may be a tracer, whose value is unknown: it passes every check.
So does an array with axes on a device, since reading it would block until it is computed. A caller
who accepts that wait asks `is_concrete` instead of `is_known`.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from dgm_jax.core.errors import require
from dgm_jax.core.types import Array

Value = TypeVar("Value")

# Entries; reading larger eager arrays would cost more than it helps.
_LARGEST_CHECKED = 1 << 20


def is_concrete(value: Any) -> bool:
    """Whether a value is not a tracer; reading an array on a device may still block.

    Args:
        value: anything.

    Returns:
        False for a tracer, True for everything else.

    Example:
        >>> checks.is_concrete(jnp.ones(3))
        True
    """
    return not isinstance(value, Tracer)


def is_known(value: Any) -> bool:
    """Whether a value can be read at once, without waiting for a device.

    Args:
        value: anything.

    Returns:
        True for a Python or NumPy number or array, and for a JAX scalar outside any trace.

    Example:
        >>> checks.is_known(0.5), checks.is_known(jnp.ones(3))
        (True, False)
    """
    return is_concrete(value) and (not isinstance(value, jax.Array) or value.ndim == 0)


def positive(value: Value, name: str) -> Value:
    """Return the value if all of it is above 0, or if it is not known.

    Args:
        value: a number or an array.
        name: of the argument, for the message.

    Returns:
        The value, unchanged.

    Raises:
        ConfigError: a known value that is not positive throughout.

    Example:
        >>> checks.positive(0.5, "scale")
        0.5
    """
    message = f"{name} must be positive; got {value!r}"
    _require_values(value, lambda x: x > 0, message)
    return value


def not_negative(value: Value, name: str) -> Value:
    """Return the value if all of it is 0 or above, or if it is not known.

    Args:
        value: a number or an array.
        name: of the argument, for the message.

    Returns:
        The value, unchanged.

    Raises:
        ConfigError: a known value with a negative entry.

    Example:
        >>> checks.not_negative(0, "floor")
        0
    """
    message = f"{name} must not be negative; got {value!r}"
    _require_values(value, lambda x: x >= 0, message)
    return value


def share(value: Value, name: str) -> Value:
    """Return the value if all of it is in [0, 1], or if it is not known.

    Args:
        value: a number or an array.
        name: of the argument, for the message.

    Returns:
        The value, unchanged.

    Raises:
        ConfigError: a known value outside [0, 1].

    Example:
        >>> checks.share(0.99, "decay")
        0.99
    """
    return within(value, name, 0, 1)


def not_probabilities(value: Array, name: str) -> Array:
    """Return logits or log-probabilities, unless known values look like probabilities.

    They do where all are in [0, 1], not all of them 0 or 1, and every row sums to one.

    Args:
        value: [*B, K].
        name: of the argument, for the message.

    Returns:
        The value, unchanged.

    Raises:
        ConfigError: known values, at most 2^20 of them, that look like probabilities.

    Example:
        >>> checks.not_probabilities(jnp.log(jnp.array([0.25, 0.75])), "logits").shape
        (2,)
        >>> checks.not_probabilities(jnp.array([0.25, 0.75]), "logits")
        Traceback (most recent call last):
        dgm_jax.core.errors.ConfigError: logits look like probabilities...
    """
    if not is_concrete(value) or not 0 < np.size(value) <= _LARGEST_CHECKED:
        return value
    if np.ndim(value) < 1:
        return value
    values = np.asarray(value, np.float64)
    dtype = jnp.result_type(value, jnp.bfloat16)
    tolerance = max(1e-5, float(jnp.finfo(dtype).eps))
    require(
        not _look_like_probabilities(values, tolerance),
        f"{name} look like probabilities (rows in [0, 1] that sum to one); pass"
        " jnp.log(probabilities)",
    )
    return value


def vectors(x: Array, name: str, dim: int) -> Array:
    """Convert to an array and check its last axis.

    Args:
        x: [*B, dim].
        name: of the argument, for the message.
        dim: required length of the last axis.

    Returns:
        x as a JAX array [*B, dim].

    Raises:
        ConfigError: a scalar, or another last axis.

    Example:
        >>> checks.vectors(np.zeros((3, 2)), "z", 2).shape
        (3, 2)
    """
    x = jnp.asarray(x)
    require(x.ndim >= 1 and x.shape[-1] == dim, f"{name} must be [*B, {dim}]; got {x.shape}")
    return x


def at_least(value: Value, name: str, least: float) -> Value:
    """Return the value if all of it is `least` or more, or if it is not known.

    Args:
        value: a number or an array.
        name: of the argument, for the message.
        least: the smallest value allowed.

    Returns:
        The value, unchanged.

    Raises:
        ConfigError: a known value below `least`.

    Example:
        >>> checks.at_least(3, "num_steps", 1)
        3
    """
    message = f"{name} must be at least {least}; got {value!r}"
    _require_values(value, lambda x: x >= least, message)
    return value


def within(
    value: Value, name: str, low: float, high: float, *, above: bool = False, below: bool = False
) -> Value:
    """Return the value if all of it is in [low, high], or if it is not known.

    Args:
        value: a number or an array.
        name: of the argument, for the message.
        low: lower end of the interval.
        high: upper end of the interval.
        above: exclude `low` itself.
        below: exclude `high` itself.

    Returns:
        The value, unchanged.

    Raises:
        ConfigError: a known value outside the interval.

    Example:
        >>> checks.within(0.0, "smoothing", 0, 1, below=True)
        0.0
    """

    def is_inside(x: Any) -> Any:
        over_low = x > low if above else x >= low
        under_high = x < high if below else x <= high
        return over_low & under_high

    left = "(" if above else "["
    right = ")" if below else "]"
    message = f"{name} must be in {left}{low}, {high}{right}; got {value!r}"
    _require_values(value, is_inside, message)
    return value


def is_whole(value: Any) -> bool:
    """Whether a value is an integer, of Python or of NumPy, and not a truth value.

    Args:
        value: anything.

    Returns:
        True for an integer.

    Example:
        >>> checks.is_whole(np.int64(3)), checks.is_whole(3.0), checks.is_whole(True)
        (True, False, False)
    """
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def whole(value: int, name: str, at_least: int = 1) -> int:
    """Return the value if it is an integer of at least `at_least`.

    Args:
        value: a Python or NumPy integer.
        name: of the argument, for the message.
        at_least: the smallest value allowed.

    Returns:
        The value, unchanged.

    Raises:
        ConfigError: no integer, or one below `at_least`.

    Example:
        >>> checks.whole(2, "dim")
        2
    """
    require(
        is_whole(value) and value >= at_least,
        f"{name} must be an integer of at least {at_least}; got {value!r}",
    )
    return value


def _look_like_probabilities(values: np.ndarray, tolerance: float) -> bool:
    """Whether all are in [0, 1], not all of them 0 or 1, and every row sums to one."""
    in_range = np.all((values >= 0) & (values <= 1))
    between = np.any((values > 0) & (values < 1))
    if not (in_range and between):
        return False
    errors = np.abs(values.sum(-1) - 1)
    return bool(np.all(errors < tolerance))


def _require_values(value: Any, holds: Callable[[Any], Any], message: str) -> None:
    """`ConfigError` unless a known value is real and `holds(value)` is true throughout."""
    if not is_known(value):
        return
    number = np.asarray(value)
    dtype = number.dtype
    is_real = jnp.issubdtype(dtype, np.integer) or jnp.issubdtype(dtype, np.floating)
    require(is_real and bool(np.all(holds(number))), message)
