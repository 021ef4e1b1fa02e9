"""Errors that a person can act on.

Each message says what was expected and what was given. `exit_code` is the status with which a
command ends: 2 for anything that the caller can correct (a name, a flag, a shape, a folder in use).
"""

import difflib
import types
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any, TypeVar, cast

Value = TypeVar("Value")


class DgmError(ValueError):
    """Base class of the errors raised on purpose; commands show them without a traceback."""

    exit_code = 2


class ConfigError(DgmError):
    """A setting or an argument that cannot be used."""


class UnknownNameError(ConfigError, KeyError):
    """A name that a registry does not have; also a `KeyError`."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class DataError(DgmError):
    """Data that do not fit what was declared: range, rank, dtype, non-finite values."""


class RunDirectoryError(DgmError):
    """A run folder that is in use, finished, or holds another run."""


class Registry(dict[str, Value]):
    """Values of one kind by name, whose error for an unknown name is that of `lookup`.

    Attributes:
        kind: of thing, for the message, such as "GAN loss".

    Example:
        >>> losses = core.Registry("GAN loss", {"hinge": 1, "minimax": 2})
        >>> losses["hing"]
        Traceback (most recent call last):
        dgm_jax.core.errors.UnknownNameError: unknown GAN loss 'hing' (did you mean 'hinge'?)...
    """

    def __init__(self, kind: str, entries: Mapping[str, Value]) -> None:
        super().__init__(entries)
        self.kind = kind

    def __missing__(self, name: str) -> Value:
        raise _unknown(self, name, self.kind)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the nearest known name, or the one whose words have these initials.

    Args:
        name: what was given.
        known: the names that exist.

    Returns:
        " (did you mean 'x'?)", or an empty string where nothing is near.

    Example:
        >>> core.did_you_mean("hing", ["hinge", "minimax"])
        " (did you mean 'hinge'?)"
        >>> core.did_you_mean("lr", ["log_every", "learning_rate"])
        " (did you mean 'learning_rate'?)"
    """
    names = [str(k) for k in known]
    short = [k for k in names if "_" in k and _initials(k) == str(name)]
    near = short or difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _initials(name: str) -> str:
    return "".join(word[:1] for word in name.split("_"))


def differences(
    before: dict,
    now: dict,
    prefix: str = "",
    *,
    usual: dict | None = None,
) -> list[str]:
    """List the leaves in which two JSON objects differ.

    Args:
        before: the recorded object.
        now: the present object.
        prefix: path of both objects, put in front of every key.
        usual: values of leaves that an object leaves out, nested as the objects are.

    Returns:
        `key: old there, new here` for each differing leaf, sorted by key.

    Example:
        >>> core.differences({"seed": 1, "data": {"name": "ring"}}, {"seed": 2})
        ["data: {'name': 'ring'} there, '(absent)' here", 'seed: 1 there, 2 here']
        >>> core.differences({}, {"microbatches": 2}, usual={"microbatches": 1})
        ['microbatches: 1 there, 2 here']
    """
    usual = {} if usual is None else usual
    rows = []
    for key in sorted({*before, *now}):
        left_out = usual.get(key, "(absent)")
        old = before.get(key, left_out)
        new = now.get(key, left_out)
        if isinstance(old, dict) and isinstance(new, dict):
            rows += differences(old, new, f"{prefix}{key}.", usual=usual.get(key))
        elif _differ(old, new):
            rows.append(f"{prefix}{key}: {old!r} there, {new!r} here")
    return rows


def _differ(old: object, new: object) -> bool:
    """Whether two JSON values differ in value or in type; 1 and 1.0 are the same number."""
    same_type = type(old) is type(new) or {type(old), type(new)} <= {int, float}
    return old != new or not same_type


def lookup(
    registry: Mapping[str, Value] | Collection[str],
    name: str,
    kind: str,
) -> Value:
    """Look up a name in a registry, with a helpful error.

    Args:
        registry: values by name, or a collection of names.
        name: what is asked for.
        kind: of thing, for the message, such as "GAN loss".

    Returns:
        `registry[name]`, or `name` itself from a collection of names.

    Raises:
        UnknownNameError: an unknown name, a `ConfigError` and a `KeyError`; the message lists the
            known ones and suggests the nearest.

    Example:
        >>> core.lookup({"hinge": 1, "minimax": 2}, "minimax", "GAN loss")
        2
    """
    if isinstance(name, Hashable) and name in registry:
        return cast(Value, registry[name] if isinstance(registry, Mapping) else name)
    raise _unknown(registry, name, kind)


def by_name(
    registry: Mapping[str, Value],
    value: Any,
    kind: str,
    accepted: Any,
) -> Any:
    """Accept either a name of a registry or a value itself.

    Args:
        registry: values by name.
        value: a name, or an instance of `accepted`.
        kind: of thing, for the message, such as "GAN loss".
        accepted: the type of the values.

    Returns:
        `registry[value]` for a name, else `value`.

    Raises:
        ConfigError: an unknown name, or neither a name nor of the type `accepted`; the message
            lists the names.

    Example:
        >>> core.by_name({"half": 0.5}, "half", "rate", float)
        0.5
        >>> core.by_name({"half": 0.5}, 0.25, "rate", float)
        0.25
    """
    if isinstance(value, str):
        return lookup(registry, value, kind)
    require(
        isinstance(value, accepted),
        f"{kind} must be a {accepted.__name__} or the name of one"
        f" ({', '.join(sorted(registry))}); got {described(value)}",
    )
    return value


def described(value: Any) -> str:
    """Describe a value in a few words, for the message of an error.

    Args:
        value: anything.

    Returns:
        Dtype and shape of an array; a number or a text (its first 60 characters) as Python writes
        it; the name of a class or a function; the type of anything else.

    Example:
        >>> core.described(np.zeros((2, 3), np.float32)), core.described("ring"), core.described([])
        ('float32[2, 3]', "'ring'", 'list')
    """
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


def _unknown(registry: Collection[str], name: Any, kind: str) -> UnknownNameError:
    known = ", ".join(sorted(str(k) for k in registry))
    hint = did_you_mean(name, registry)
    return UnknownNameError(f"unknown {kind} {name!r}{hint}; known: {known}")


def require(
    condition: bool,
    message: str,
    error: type[DgmError] = ConfigError,
) -> None:
    """Raise an error unless a condition holds.

    Args:
        condition: a Python truth value, known before compilation.
        message: what was expected and what was given.
        error: class of the error.

    Raises:
        DgmError: of class `error`, where the condition is false.

    Example:
        >>> core.require(1 < 0, "sizes must grow")
        Traceback (most recent call last):
        dgm_jax.core.errors.ConfigError: sizes must grow
    """
    if not condition:
        raise error(message)
