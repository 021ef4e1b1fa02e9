"""Options of a data set, in its name (`folder:PATH?image_size=32`) or beside it."""

import ast
import inspect
import numbers
import re
import typing
from collections.abc import Sequence

import numpy as np

from dgm_jax.core import did_you_mean, require

LOAD_OPTIONS = ("data_dir", "scaling", "binarization", "dequantization", "seed")

_WITH_OPTIONS = re.compile(r"(?P<name>.+?)\?(?P<options>\w+=[^&]*(&\w+=[^&]*)*)", re.DOTALL)


def split_name(name: str, options: dict) -> tuple[str, dict]:
    """`NAME?KEY=VALUE&...` as NAME and options: numbers, True, False and None as such, anything
    else as text."""
    found = _WITH_OPTIONS.fullmatch(name)
    if not found:
        return name, options
    options = dict(options)
    for option in found["options"].split("&"):
        key, _, text = option.partition("=")
        require(key not in options, f"data set {name!r}: {key} is given twice")
        require(
            key not in LOAD_OPTIONS,
            f"data set {name!r}: {key} is no option of the set: give it beside the name",
        )
        options[key] = _value(text)
    return found["name"], options


def checked(name: str, options: dict, function, extra: dict[str, type]) -> dict:
    """`options`, with NumPy scalars as Python's own; `ConfigError` for an option that neither
    `function` nor `extra` (names to types, None allowed) has, or for a value of another type."""
    parameters = inspect.signature(function).parameters.values()
    hints = typing.get_type_hints(function) | extra
    known = [p.name for p in parameters if p.name not in ("name", "path", "data_dir")] + list(extra)
    plain = {}
    for option, value in options.items():
        require(
            option in known,
            f"data set {name!r} has no option {option!r}"
            f"{did_you_mean(option, (*known, *LOAD_OPTIONS))}; it has: {', '.join(sorted(known))}",
        )
        plain[option] = value.item() if isinstance(value, np.generic) else value
        if value is not None or option not in extra:
            _check_type(name, option, plain[option], hints[option])
    return plain


def _value(text: str):
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if value is None or isinstance(value, (bool, int, float)) else text


def _check_type(name: str, option: str, value, hint) -> None:
    kinds = (hint,) if isinstance(hint, type) or not _is_union(hint) else typing.get_args(hint)
    kind = getattr(hint, "__name__", None) if isinstance(hint, type) else hint
    got = f"the text {value!r}" if isinstance(value, str) else repr(value)[:80]
    require(
        any(_is(value, one) for one in kinds),
        f"data set {name!r}: {option} takes {kind}, got {got}",
    )


def _is_union(hint) -> bool:
    return type(None) in typing.get_args(hint)


def _is(value, kind) -> bool:
    if kind in (str, bool, type(None)):
        return isinstance(value, kind)
    if kind is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool)
    return isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str)
