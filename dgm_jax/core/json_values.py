"""Strict JSON: arrays become lists, NaN and infinities null, since JSON has no word for them."""

import dataclasses
import datetime
import enum
import json
import math
from typing import Any

import numpy as np

from dgm_jax.core.errors import ConfigError


def plain(value: Any, where: str = "value") -> Any:
    """`value` as what JSON knows: dict, list, str, int, float, bool, None.

    NumPy and JAX arrays become (nested) lists, dataclasses and NamedTuples dicts, paths strings,
    dates ISO 8601; non-finite floats become None. Anything else raises `ConfigError` naming `where`
    it stands.
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


def _plain_array(value, where):
    """An array (NumPy, JAX or a scalar of theirs) as nested lists of Python numbers."""
    if hasattr(value, "__array__"):
        try:
            array = np.asarray(value)
        except TypeError:  # a typed key of JAX refuses to become numbers
            array = np.empty(0, object)
        if array.dtype.kind in "biu" or array.dtype.kind == "U":
            return array.tolist()
        # bfloat16 and its kin have kind V
        if array.dtype.kind == "f" or "float" in array.dtype.name:
            array = array.astype(np.float64)
            null: Any = None  # NumPy's stubs know no arrays of objects
            return np.where(np.isfinite(array), array.astype(object), null).tolist()
    raise ConfigError(f"{where}: a {type(value).__name__} cannot be written as JSON")


def dumps(value: Any, indent: int | None = None) -> str:
    """Strict JSON text of `plain(value)`: ASCII only, no NaN, one line unless `indent` is given."""
    return json.dumps(plain(value), allow_nan=False, ensure_ascii=True, indent=indent)


def _no_constant(name):
    raise ValueError(f"{name} is not JSON")


def loads(text: str | bytes) -> Any:
    """Parses strict JSON; bare NaN and Infinity, and nesting deeper than Python can follow, raise
    `ValueError`."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
