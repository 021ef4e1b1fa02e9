"""Names of data sets that carry options."""

import ast
import re

from dgm_jax.core import require

LOAD_OPTIONS = ("data_dir", "scaling", "binarization", "dequantization", "seed")

_WITH_OPTIONS = re.compile(r"(?P<name>.+?)\?(?P<options>\w+=[^&]*(&\w+=[^&]*)*)", re.DOTALL)


def with_options(name: str, options: dict) -> tuple[str, dict]:
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


def _value(text: str):
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if value is None or isinstance(value, (bool, int, float)) else text
