"""Options of a data set, as part of its name (`folder:PATH?image_size=32`) or as arguments."""

import ast
import inspect
import numbers
import re
import typing
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dgm_jax.core import did_you_mean, require

LOAD_OPTIONS = ("data_dir", "scaling", "binarization", "dequantization", "seed")

_WITH_OPTIONS = re.compile(r"(?P<name>.+?)\?(?P<options>\w+=[^&]*(&\w+=[^&]*)*)", re.DOTALL)


def split_name(name: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Split `NAME?KEY=VALUE&...` into a name and options.

    Args:
        name: the name, which may carry options: numbers, True, False and None are read as such,
            anything else as text.
        options: further options.

    Returns:
        The bare name, and all options.

    Raises:
        ConfigError: for an option given twice, or one that is an argument of `load`.
    """
    match = _WITH_OPTIONS.fullmatch(name)
    if not match:
        return name, options
    options = dict(options)
    for option in match["options"].split("&"):
        key, _, text = option.partition("=")
        require(key not in options, f"data set {name!r}: {key} is given twice")
        require(
            key not in LOAD_OPTIONS,
            f"data set {name!r}: {key} is no option of the set: give it beside the name",
        )
        options[key] = _value(text)
    return match["name"], options


def checked(
    name: str,
    options: dict[str, Any],
    function: Callable[..., Any],
    extra: dict[str, type],
) -> dict[str, Any]:
    """Check options against the parameters of a function.

    Args:
        name: the data set, for messages.
        options: the options.
        function: the function that takes them.
        extra: types of further options, whose value may also be None.

    Returns:
        The options, with NumPy scalars converted to Python's.

    Raises:
        ConfigError: for an option that neither has, or a value of another type.
    """
    parameters = inspect.signature(function).parameters.values()
    hints = typing.get_type_hints(function) | extra
    known = [p.name for p in parameters if p.name not in ("name", "path", "data_dir")]
    known += list(extra)
    plain = {}
    for option, value in options.items():
        hint = did_you_mean(option, (*known, *LOAD_OPTIONS))
        require(
            option in known,
            f"data set {name!r} has no option {option!r}{hint}; it has: {', '.join(sorted(known))}",
        )
        plain[option] = value.item() if isinstance(value, np.generic) else value
        if value is not None or option not in extra:
            _check_type(name, option, plain[option], hints[option])
    return plain


def _value(text: str) -> bool | int | float | str | None:
    """A number, True, False or None if the text is one; otherwise the text."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if value is None or isinstance(value, (bool, int, float)) else text


def _check_type(name: str, option: str, value: Any, hint: Any) -> None:
    if isinstance(hint, type):
        kinds = (hint,)
        expected = hint.__name__
    else:
        kinds = typing.get_args(hint) if _is_union(hint) else (hint,)
        expected = hint
    got = f"the text {value!r}" if isinstance(value, str) else repr(value)[:80]
    require(
        any(_is(value, kind) for kind in kinds),
        f"data set {name!r}: {option} takes {expected}, got {got}",
    )


def _is_union(hint: Any) -> bool:
    """Whether a type hint allows None."""
    return type(None) in typing.get_args(hint)


def _is(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind; integers also count as floats, sequences as tuples."""
    if kind in (str, bool, type(None)):
        return isinstance(value, kind)
    if kind is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool)
    return isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str)
