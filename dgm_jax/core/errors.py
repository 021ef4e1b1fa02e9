"""Errors that a person can act on.

Each names what was expected and what came. `exit_code` is what a command returns:
2 for anything the caller can mend (a name, a flag, a shape, a folder in use).
"""

import difflib
from collections.abc import Collection, Mapping
from typing import TypeVar, cast

Value = TypeVar("Value")


class DgmError(ValueError):
    """Base of the errors raised on purpose; shown without a traceback by the commands."""

    exit_code = 2


class ConfigError(DgmError):
    """A configuration value that no run could use."""


class DataError(DgmError):
    """Data that do not fit what was declared: range, rank, dtype, non-finite values."""


class RunDirectoryError(DgmError):
    """A run folder that is in use, finished, or holds another run."""


def did_you_mean(name: str, known) -> str:
    """ " (did you mean 'x'?)" with the nearest of `known`, or an empty string."""
    near = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def differences(before: dict, now: dict, prefix: str = "") -> list[str]:
    """`key: old there, new here` for every differing leaf of two JSON objects."""
    rows = []
    for key in sorted({*before, *now}):
        old, new = before.get(key, "(absent)"), now.get(key, "(absent)")
        if isinstance(old, dict) and isinstance(new, dict):
            rows += differences(old, new, f"{prefix}{key}.")
        elif (
            old != new or type(old) is not type(new) and not {type(old), type(new)} <= {int, float}
        ):
            rows.append(f"{prefix}{key}: {old!r} there, {new!r} here")
    return rows


def lookup(registry: Mapping[str, Value] | Collection[str], name: str, kind: str) -> Value:
    """`registry[name]`, or `name` itself of a collection of names, or a `ConfigError` that lists
    the names and the nearest one.

    Example: `lookup(LOSSES, "hing", "GAN loss")` says
    `unknown GAN loss 'hing' (did you mean 'hinge'?); known: hinge, least_squares, ...`.
    """
    if name in registry:
        return cast(Value, registry[name] if isinstance(registry, Mapping) else name)
    known = ", ".join(sorted(str(k) for k in registry))
    raise ConfigError(f"unknown {kind} {name!r}{did_you_mean(name, registry)}; known: {known}")


def require(condition: bool, message: str, error: type[DgmError] = ConfigError) -> None:
    """Raises `error(message)` unless the (static, Python) condition holds."""
    if not condition:
        raise error(message)
