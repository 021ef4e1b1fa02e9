"""Checks of arguments by their values, where these are known, and of settings.

Inside a compiled program a number may be a tracer, of which nothing is known: it passes. So does an
array with axes that lies on a device, since to look at it would mean to wait for it; who wants to
wait asks `is_concrete`.
"""

from collections.abc import Mapping
from typing import TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from dgm_jax.core.errors import described, require
from dgm_jax.core.types import Array, Key

Sizes = TypeVar("Sizes", bound=tuple[int, ...])

_LARGEST_LOOKED_AT = (
    1 << 20
)  # entries; to look at larger eager arrays would cost more than it helps


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


def not_probabilities(value: Array, name: str) -> Array:
    """The value, after a `ConfigError` for known values that are probabilities, where logits or
    log-probabilities are due: all in [0, 1], every row summing to one, and not one-hot."""
    if not is_concrete(value) or not 0 < np.size(value) <= _LARGEST_LOOKED_AT or np.ndim(value) < 1:
        return value
    values = np.asarray(value, np.float64)
    looks = np.all((values >= 0) & (values <= 1)) and np.any((values > 0) & (values < 1))
    tolerance = max(1e-5, float(jnp.finfo(jnp.result_type(value, jnp.bfloat16)).eps))
    require(
        not (looks and np.all(np.abs(values.sum(-1) - 1) < tolerance)),
        f"{name} look like probabilities (rows in [0, 1] that sum to one); pass"
        " jnp.log(probabilities)",
    )
    return value


def sizes(value: Sizes, name: str) -> Sizes:
    """The value as a tuple, after a `ConfigError` unless it holds integers of at least 1."""
    listed = isinstance(value, (tuple, list))
    fits = listed and all(is_whole(n) and n >= 1 for n in value)
    got = value if listed else described(value)
    require(fits, f"{name} must be a tuple of sizes of at least 1, such as (28, 28, 1); got {got}")
    return cast(Sizes, tuple(value))


def one_key(value, name: str = "key") -> Key:
    """The value, after a `ConfigError` unless it is a single random key, typed or of the old
    kind."""
    dtype = getattr(value, "dtype", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    old = dtype == jnp.uint32 and np.ndim(value) == 1
    several = (
        f": map over its {np.shape(value)[0]} keys by jax.vmap" if typed and value.ndim else ""
    )
    require(
        old or typed and value.ndim == 0,
        f"{name} must be one key, such as jax.random.key(0); got {described(value)}{several}",
    )
    return value


def lane_keys(value) -> Key:
    """The value, after a `ConfigError` unless it is typed keys [L]."""
    typed = hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    require(
        typed and value.ndim == 1,
        "keys must be typed keys [L], such as jax.random.split(jax.random.key(0), L); got"
        f" {described(value)}",
    )
    return value


def network(value, name: str):
    """The value, after a `ConfigError` unless it has `init` and `apply` as a `core.Network`; a
    module of flax that is not wrapped is told how."""
    kind = value if isinstance(value, type) else type(value)
    kinds = [f"{base.__module__}." for base in kind.__mro__]
    told = ""
    if any(kind.startswith("flax.linen.") for kind in kinds):
        told = "; a module of linen becomes one by networks.from_flax(module)"
    elif any(kind.startswith("flax.nnx.") for kind in kinds):
        told = "; a module of NNX becomes one by networks.from_nnx(lambda rngs: module)"
    has = all(callable(getattr(value, part, None)) for part in ("init", "apply"))
    require(
        has and not told,
        f"{name} must be a core.Network (init, apply); got {described(value)}{told}",
    )
    return value


def batch(value, whose: str, **events: tuple[int, ...] | None) -> None:
    """`ConfigError` unless a batch has the named entries.

    Args:
        value: the batch, {name: array}.
        whose: what is trained, for the message.
        **events: of each entry the axes after that of examples, or None where any value will do.
            Entries with axes must have as many examples as each other.
    """
    entries = dict(value) if isinstance(value, Mapping) else {}
    with_axes = {name: event for name, event in events.items() if event is not None}
    fits = all(name in entries for name in events)
    if fits:
        shapes = {name: np.shape(entries[name]) for name in with_axes}
        fits = all(shapes[name][1:] == event and shapes[name] for name, event in with_axes.items())
        fits = fits and len({shape[0] for shape in shapes.values()}) <= 1
    due = [
        name if event is None else f"{name} [{', '.join(('N', *map(str, event)))}]"
        for name, event in events.items()
    ]
    got = [f"{name} {described(entry)}" for name, entry in entries.items()] or [described(value)]
    require(fits, f"a batch of {whose} holds {' and '.join(due)}; got {', '.join(got)}")


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
