"""Limits of the parameters of 2-D densities, checked before memory is used."""

import math
import numbers
from typing import Any

import numpy as np

from dgm_jax.core import checks, require

MAX_COMPONENTS = 2**12  # each sample is compared with all of them
LARGEST = 1e9  # squares of larger numbers, or of less than 1 / LARGEST, leave float32's range
MAX_TURNS = 1_000


def finite(value: Any, name: str) -> Any:
    """Convert a number to a float; a tracer is returned unchanged.

    Args:
        value: the number.
        name: its name, for the message.

    Returns:
        The number as a float.

    Raises:
        ConfigError: unless it is finite and at most 1e9 in size.
    """
    if not checks.is_known(value):
        return value
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    is_real = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
    try:
        number = float(value) if is_real else math.nan
    except OverflowError:  # an integer of more than 308 digits
        number = math.inf
    require(
        abs(number) <= LARGEST,
        f"{name} must be a finite number of at most {LARGEST:g}, got {repr(value)[:80]}",
    )
    return number


def positive(value: Any, name: str, most: float = LARGEST) -> Any:
    """Convert a positive number to a float; a tracer is returned unchanged.

    Args:
        value: the number.
        name: its name, for the message.
        most: largest value.

    Returns:
        The number as a float.

    Raises:
        ConfigError: unless it lies in [1e-9, most].
    """
    number = finite(value, name)
    if not checks.is_known(value):
        return number
    require(
        1 / LARGEST <= number <= most,
        f"{name} must be positive, between {1 / LARGEST:g} and {most:g}, got {value!r}",
    )
    return number


def count(value: Any, name: str, most: int = MAX_COMPONENTS) -> int:
    """Convert a whole number to an int.

    Args:
        value: the number.
        name: its name, for the message.
        most: largest value.

    Returns:
        The number as an int.

    Raises:
        ConfigError: unless it is an integer in 1..most.
    """
    number = int(checks.whole(value, name))
    require(number <= most, f"{name} must be at most {most}, got {number}")
    return number
