"""Checks of arguments by their values, where these are known, and of settings.

Inside a compiled program a number may be a tracer, of which nothing is known: it passes. So does an
array with axes that lies on a device, since to look at it would mean to wait for it; who wants to
wait asks `is_concrete`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from dgm_jax.core.errors import require
from dgm_jax.core.types import Array


def is_concrete(value) -> bool:
    """Whether a value has numbers: it is no tracer. To see those of an array on a device, one has
    to wait for it."""
    return not isinstance(value, Tracer)


def is_known(value) -> bool:
    """Whether a value can be looked at: a Python or NumPy number or array, or a JAX scalar outside
    any trace."""
    return is_concrete(value) and (not isinstance(value, jax.Array) or value.ndim == 0)


def positive(value, name: str):
    """The value, after a `ConfigError` unless it is above 0 throughout, where it is known."""
    _require_values(value, lambda x: x > 0, f"{name} must be positive; got {value!r}")
    return value


def not_negative(value, name: str):
    """The value, after a `ConfigError` unless it is 0 or above throughout, where it is known."""
    _require_values(value, lambda x: x >= 0, f"{name} must not be negative; got {value!r}")
    return value


def share(value, name: str):
    """The value, after a `ConfigError` unless it is in [0, 1] throughout, where it is known."""
    return within(value, name, 0, 1)


def vectors(x: Array, name: str, dim: int) -> Array:
    """x as an array [*B, dim]; `ConfigError` for another last axis."""
    x = jnp.asarray(x)
    require(x.ndim >= 1 and x.shape[-1] == dim, f"{name} must be [*B, {dim}]; got {x.shape}")
    return x


def at_least(value, name: str, least):
    """The value, after a `ConfigError` unless it is `least` or more throughout, where it is
    known."""
    message = f"{name} must be at least {least}; got {value!r}"
    _require_values(value, lambda x: x >= least, message)
    return value


def within(value, name: str, low, high, *, above: bool = False, below: bool = False):
    """The value, after a `ConfigError` unless it lies in [low, high] throughout, where it is known.

    above, below: whether `low` and `high` themselves are left out.
    """

    def lies(x):
        return (x > low if above else x >= low) & (x < high if below else x <= high)

    interval = f"{'(' if above else '['}{low}, {high}{')' if below else ']'}"
    _require_values(value, lies, f"{name} must be in {interval}; got {value!r}")
    return value


def is_whole(value) -> bool:
    """Whether a value is an integer, of Python or of NumPy, and no truth value."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def whole(value: int, name: str, at_least: int = 1) -> int:
    """The value, after a `ConfigError` unless it is an integer of at least `at_least`."""
    require(
        is_whole(value) and value >= at_least,
        f"{name} must be an integer of at least {at_least}; got {value!r}",
    )
    return value


def require_at_least(least: float, settings, *names: str) -> None:
    """`ConfigError` unless each named attribute of `settings` is at least `least` (or None: left
    out)."""
    for name in names:
        value = getattr(settings, name)
        require(value is None or value >= least, f"{name} must be at least {least}, got {value}")


def require_at_most(most: float, settings, *names: str) -> None:
    """`ConfigError` unless each named attribute of `settings` is at most `most` (or None: left
    out)."""
    for name in names:
        value = getattr(settings, name)
        require(value is None or value <= most, f"{name} must be at most {most:,}, got {value:,}")


def require_positive(settings, *names: str) -> None:
    """`ConfigError` unless each named attribute of `settings` is above 0."""
    for name in names:
        value = getattr(settings, name)
        require(value > 0, f"{name} must be positive, got {value}")


def _require_values(value, hold, message: str) -> None:
    """`ConfigError` unless a known value is real, and `hold(value)` throughout."""
    if is_known(value):
        number = np.asarray(value)
        real = any(jnp.issubdtype(number.dtype, kind) for kind in (np.integer, np.floating))
        require(real and bool(np.all(hold(number))), message)
