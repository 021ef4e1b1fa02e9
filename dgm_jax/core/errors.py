"""Errors that a person can act on.

Each names what was expected and what came. `exit_code` is what a command returns:
2 for anything the caller can mend (a name, a flag, a shape, a folder in use).
"""

import difflib
import types
from collections.abc import Collection, Hashable, Mapping
from typing import Any, TypeVar, cast

Value = TypeVar("Value")


class DgmError(ValueError):
    """Base of the errors raised on purpose; shown without a traceback by the commands."""

    exit_code = 2


class ConfigError(DgmError):
    """A configuration value that no run could use."""


class UnknownNameError(ConfigError, KeyError):
    """A name that a registry does not have; a `KeyError` too."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class DataError(DgmError):
    """Data that do not fit what was declared: range, rank, dtype, non-finite values."""


class RunDirectoryError(DgmError):
    """A run folder that is in use, finished, or holds another run."""


class Registry(dict[str, Value]):
    """What there is of a kind, by name; `registry[name]` of another name says what `lookup` does.

    Example: `LOSSES["hing"]` says
    `unknown GAN loss 'hing' (did you mean 'hinge'?); known: hinge, least_squares, ...`.
    """

    def __init__(self, kind: str, entries: Mapping[str, Value]):
        super().__init__(entries)
        self.kind = kind

    def __missing__(self, name):
        raise _unknown(self, name, self.kind)


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
    if isinstance(name, Hashable) and name in registry:
        return cast(Value, registry[name] if isinstance(registry, Mapping) else name)
    raise _unknown(registry, name, kind)


def by_name(registry: Mapping[str, Value], value, kind: str, accepted: Any) -> Any:
    """`value` itself where it is of the type `accepted`, or what `registry` has by that name.

    Raises:
        ConfigError: an unknown name, or anything else; the message lists the names.
    """
    if isinstance(value, str):
        return lookup(registry, value, kind)
    require(
        isinstance(value, accepted),
        f"{kind} must be a {accepted.__name__} or the name of one"
        f" ({', '.join(sorted(registry))}); got {described(value)}",
    )
    return value


def described(value) -> str:
    """What came, in a few words: dtype and shape of an array, a short text or a number as it is,
    the name of a class or function, the type of anything else."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype}{list(value.shape)}"
    if value is None or isinstance(value, (str, bool, int, float)):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:60]}..."
    if isinstance(value, (types.FunctionType, types.BuiltinFunctionType)):
        return f"the function {value.__name__}"
    return type(value).__name__


def _unknown(registry: Collection, name, kind: str) -> UnknownNameError:
    known = ", ".join(sorted(str(k) for k in registry))
    told = f"unknown {kind} {name!r}{did_you_mean(name, registry)}; known: {known}"
    return UnknownNameError(told)


def require(condition: bool, message: str, error: type[DgmError] = ConfigError) -> None:
    """Raises `error(message)` unless the (static, Python) condition holds."""
    if not condition:
        raise error(message)
