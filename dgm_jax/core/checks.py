"""Checks of arguments and settings, all of which raise `ConfigError`.

Inside a compiled program a number may be a tracer, whose value is unknown: it passes every check.
So does an array with axes on a device, since reading it would block until it is computed. A caller
who accepts that wait asks `is_concrete` instead of `is_known`.
"""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import jax.numpy as jnp
import numpy as np

from dgm_jax.core._number_checks import (
    at_least,
    is_concrete,
    is_known,
    is_whole,
    not_negative,
    not_probabilities,
    positive,
    share,
    vectors,
    whole,
    within,
)
from dgm_jax.core.errors import described, require
from dgm_jax.core.trees import is_key
from dgm_jax.core.types import Key

__all__ = [
    "at_least",
    "batch",
    "is_concrete",
    "is_known",
    "is_whole",
    "lane_keys",
    "network",
    "not_negative",
    "not_probabilities",
    "one_key",
    "positive",
    "require_at_least",
    "require_at_most",
    "require_positive",
    "share",
    "sizes",
    "vectors",
    "whole",
    "within",
]

Sizes = TypeVar("Sizes", bound=tuple[int, ...])
Value = TypeVar("Value")


def sizes(value: Sizes, name: str) -> Sizes:
    """Return sizes as a tuple, if each is an integer of at least 1.

    Args:
        value: a tuple or a list of integers.
        name: of the argument, for the message.

    Returns:
        The sizes as a tuple.

    Raises:
        ConfigError: neither a tuple nor a list, or an entry that is no integer of at least 1.

    Example:
        >>> checks.sizes([28, 28, 1], "shape")
        (28, 28, 1)
    """
    is_sequence = isinstance(value, (tuple, list))
    fits = is_sequence and all(is_whole(n) and n >= 1 for n in value)
    got = value if is_sequence else described(value)
    require(fits, f"{name} must be a tuple of sizes of at least 1, such as (28, 28, 1); got {got}")
    return cast(Sizes, tuple(value))


def one_key(value: Any, name: str = "key") -> Key:
    """Return a single random key, typed or a raw uint32 vector.

    Args:
        value: a key.
        name: of the argument, for the message.

    Returns:
        The key, unchanged.

    Raises:
        ConfigError: several keys, or no key.

    Example:
        >>> checks.one_key(jax.random.split(jax.random.key(0), 3))
        Traceback (most recent call last):
        dgm_jax.core.errors.ConfigError: key must be one key, such as jax.random.key(0); got...
    """
    dtype = getattr(value, "dtype", None)
    is_typed = is_key(value)
    is_raw = dtype == jnp.uint32 and np.ndim(value) == 1
    hint = ""
    if is_typed and value.ndim > 0:
        hint = f": map over its {np.shape(value)[0]} keys by jax.vmap"
    require(
        is_raw or is_typed and value.ndim == 0,
        f"{name} must be one key, such as jax.random.key(0); got {described(value)}{hint}",
    )
    return value


def lane_keys(value: Any) -> Key:
    """Return the keys of lanes, one typed key for each.

    Args:
        value: typed keys [L].

    Returns:
        The keys, unchanged.

    Raises:
        ConfigError: one key, keys with more axes, or no typed keys.

    Example:
        >>> checks.lane_keys(jax.random.split(jax.random.key(0), 3)).shape
        (3,)
    """
    require(
        is_key(value) and value.ndim == 1,
        "keys must be typed keys [L], such as jax.random.split(jax.random.key(0), L); got"
        f" {described(value)}",
    )
    return value


def network(value: Value, name: str) -> Value:
    """Return a network, if it has the `init` and `apply` of a `core.Network`.

    Args:
        value: the network.
        name: of the argument, for the message.

    Returns:
        The network, unchanged.

    Raises:
        ConfigError: anything else; for a module of Flax, the message says how to wrap it.

    Example:
        >>> checks.network(None, "encoder")
        Traceback (most recent call last):
        dgm_jax.core.errors.ConfigError: encoder must be a core.Network (init, apply); got None
    """
    kind = value if isinstance(value, type) else type(value)
    modules = [f"{base.__module__}." for base in kind.__mro__]
    hint = ""
    if any(module.startswith("flax.linen.") for module in modules):
        hint = "; a module of linen becomes one by networks.from_flax(module)"
    elif any(module.startswith("flax.nnx.") for module in modules):
        hint = "; a module of NNX becomes one by networks.from_nnx(lambda rngs: module)"
    has_functions = all(callable(getattr(value, part, None)) for part in ("init", "apply"))
    require(
        has_functions and not hint,
        f"{name} must be a core.Network (init, apply); got {described(value)}{hint}",
    )
    return value


def batch(value: Any, whose: str, **events: tuple[int, ...] | None) -> None:
    """Check that a batch has the named entries, and that their shapes fit.

    Args:
        value: the batch, {name: array}.
        whose: what is trained, for the message.
        **events: for each entry its axes after that of examples, or None if any value will do.
            Entries with axes must have equally many examples.

    Raises:
        ConfigError: an entry that is absent or of another shape.

    Example:
        >>> checks.batch({"x": jnp.zeros((8, 2))}, "a GAN", x=(2,))
        >>> checks.batch({"x": jnp.zeros((8, 3))}, "a GAN", x=(2,))
        Traceback (most recent call last):
        dgm_jax.core.errors.ConfigError: a batch of a GAN holds x [N, 2]; got x float32[8, 3]
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


def require_at_least(least: float, settings: Any, *names: str) -> None:
    """Check that attributes of a settings object are not too small; None passes.

    Args:
        least: the smallest value allowed.
        settings: object with the attributes.
        *names: of the attributes.

    Raises:
        ConfigError: an attribute below `least`.

    Example:
        >>> from types import SimpleNamespace
        >>> core.require_at_least(1, SimpleNamespace(num_steps=0), "num_steps")
        Traceback (most recent call last):
        dgm_jax.core.errors.ConfigError: num_steps must be at least 1, got 0
    """
    for name in names:
        value = getattr(settings, name)
        require(value is None or value >= least, f"{name} must be at least {least}, got {value}")


def require_at_most(most: float, settings: Any, *names: str) -> None:
    """Check that attributes of a settings object are not too large; None passes.

    Args:
        most: the largest value allowed.
        settings: object with the attributes.
        *names: of the attributes.

    Raises:
        ConfigError: an attribute above `most`.

    Example:
        >>> from types import SimpleNamespace
        >>> core.require_at_most(1000, SimpleNamespace(num_steps=2000), "num_steps")
        Traceback (most recent call last):
        dgm_jax.core.errors.ConfigError: num_steps must be at most 1,000, got 2,000
    """
    for name in names:
        value = getattr(settings, name)
        require(value is None or value <= most, f"{name} must be at most {most:,}, got {value:,}")


def require_positive(settings: Any, *names: str) -> None:
    """Check that attributes of a settings object are above 0.

    Args:
        settings: object with the attributes.
        *names: of the attributes.

    Raises:
        ConfigError: an attribute that is not positive.

    Example:
        >>> from types import SimpleNamespace
        >>> core.require_positive(SimpleNamespace(rate=-1.0), "rate")
        Traceback (most recent call last):
        dgm_jax.core.errors.ConfigError: rate must be positive, got -1.0
    """
    for name in names:
        value = getattr(settings, name)
        require(value > 0, f"{name} must be positive, got {value}")
