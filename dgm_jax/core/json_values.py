"""Strict JSON: arrays become lists, NaN and infinities null, since JSON cannot express them."""

import dataclasses
import datetime
import enum
import json
import math
from typing import Any

import numpy as np

from dgm_jax.core.errors import ConfigError


def plain(value: Any, where: str = "value") -> Any:
    """Convert a value to what JSON knows: dict, list, str, int, float, bool, None.

    NumPy and JAX arrays become (nested) lists, dataclasses and NamedTuples dicts, paths strings,
    dates ISO 8601; non-finite floats become None.

    Args:
        value: anything of these kinds, nested.
        where: name of the value, for the message.

    Returns:
        The same content in JSON's types.

    Raises:
        ConfigError: a value of another kind; the message says where it is.

    Example:
        >>> json_values.plain({"loss": np.array([1.0, np.nan]), "step": np.int32(3)})
        {'loss': [1.0, None], 'step': 3}
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, enum.Enum):
        return plain(value.value, where)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): plain(v, f"{where}.{k}") for k, v in value.items()}
    if hasattr(value, "_asdict"):
        return plain(value._asdict(), where)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: plain(getattr(value, f.name), f"{where}.{f.name}")
            for f in dataclasses.fields(value)
        }
    if isinstance(value, (list, tuple)):
        return [plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(v, where) for v in value), key=str)
    as_path = getattr(value, "__fspath__", None)
    if callable(as_path):
        return as_path()
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    return _plain_array(value, where)


def _plain_array(value: Any, where: str) -> Any:
    """Convert an array (NumPy, JAX or one of their scalars) to nested lists of Python numbers."""
    if hasattr(value, "__array__"):
        try:
            array = np.asarray(value)
        except TypeError:  # a typed key of JAX refuses to become numbers
            array = np.empty(0, object)
        if array.dtype.kind in "biu" or array.dtype.kind == "U":
            return array.tolist()
        # bfloat16 and the other small floats of ml_dtypes have kind V
        if array.dtype.kind == "f" or "float" in array.dtype.name:
            array = array.astype(np.float64)
            null: Any = None  # NumPy's stubs know no arrays of objects
            return np.where(np.isfinite(array), array.astype(object), null).tolist()
    raise ConfigError(f"{where}: a {type(value).__name__} cannot be written as JSON")


def dumps(value: Any, indent: int | None = None) -> str:
    """Write a value as strict JSON, in ASCII.

    Args:
        value: anything that `plain` converts.
        indent: spaces per level; None for a single line.

    Returns:
        The text.

    Raises:
        ConfigError: a value that JSON cannot hold.

    Example:
        >>> json_values.dumps({"loss": float("inf")})
        '{"loss": null}'
    """
    return json.dumps(plain(value), allow_nan=False, ensure_ascii=True, indent=indent)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def loads(text: str | bytes) -> Any:
    """Parse strict JSON.

    Args:
        text: one JSON value.

    Returns:
        The value.

    Raises:
        ValueError: malformed text, a bare NaN or Infinity, or nesting deeper than Python's stack.

    Example:
        >>> json_values.loads('{"step": 3}')
        {'step': 3}
    """
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
