"""Limits of the numbers that describe a density in the plane, checked before memory is used."""

import math
import numbers
from typing import Any

import numpy as np

from dgm_jax.core import checks, require

MAX_COMPONENTS = 2**12  # a sample is compared with each
LARGEST = 1e9  # squares of larger numbers, or of 1 / LARGEST, would leave float32
MAX_TURNS = 1_000


def finite(value, name: str) -> Any:
    """The value as a float; `ConfigError` unless it is a finite number of at most 1e9. What is
    traced is returned as it is."""
    if not checks.is_known(value):
        return value
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    real = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
    try:
        number = float(value) if real else math.nan
    except OverflowError:  # an integer of more than 308 digits
        number = math.inf
    require(
        abs(number) <= LARGEST,
        f"{name} must be a finite number of at most {LARGEST:g}, got {repr(value)[:80]}",
    )
    return number


def positive(value, name: str, most: float = LARGEST) -> Any:
    """The value as a float; `ConfigError` unless it lies in [1e-9, `most`]. What is traced is
    returned as it is."""
    number = finite(value, name)
    if not checks.is_known(value):
        return number
    require(
        1 / LARGEST <= number <= most,
        f"{name} must be positive, between {1 / LARGEST:g} and {most:g}, got {value!r}",
    )
    return number


def count(value, name: str, most: int = MAX_COMPONENTS) -> int:
    """The value as an int; `ConfigError` unless it is a whole number in 1..`most`."""
    number = int(checks.whole(value, name))
    require(number <= most, f"{name} must be at most {most}, got {number}")
    return number
