"""Numbers, intervals and settings as text for a person: for the page and for the terminal."""

import math
from typing import Any


def number(value: Any, missing: str = "–") -> str:
    """Four significant digits; integers as they are; `missing` for what is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return missing if value is None else str(value)
    if isinstance(value, int) or value == 0:
        return str(value) if value else "0"
    if not math.isfinite(value):
        return missing
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}" if 1e-4 <= abs(value) < 1e7 else f"{value:.3e}"


def given(value: Any) -> str:
    """A published figure as it was published, without digits of our own."""
    return f"{value:.6g}" if isinstance(value, (int, float)) else str(value)


def interval(value: Any, missing: str = "–") -> str:
    """`[low, high]`, or `missing` where there is no interval."""
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return f"[{number(value[0], missing)}, {number(value[1], missing)}]"
    return missing


def p_value(value: Any) -> str:
    """Three decimals, or `< 0.001`."""
    if isinstance(value, (int, float)) and value < 0.001:
        return "< 0.001"
    return f"{value:.3f}" if isinstance(value, (int, float)) else "–"


def failed_seed_text(entry: Any) -> str:
    """`seed 3 of vanilla at step 120: loss`, from a seed's number or {"seed", "arm", "step",
    "metric"}."""
    if not isinstance(entry, dict):
        return f"seed {entry}"
    text = f"seed {entry.get('seed', '?')}"
    text += f" of {entry['arm']}" if entry.get("arm") else ""
    text += f" at step {entry['step']}" if entry.get("step") is not None else ""
    reason = entry.get("reason") or entry.get("metric")
    return text + (f": {reason}" if reason else "")


def leaves(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """(dotted name, text) of every leaf of a JSON object."""
    if isinstance(value, dict):
        return [
            row
            for key, v in value.items()
            for row in leaves(v, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value):
        return [row for i, v in enumerate(value) for row in leaves(v, f"{prefix}[{i}]")]
    if isinstance(value, list):
        return [(prefix, ", ".join(str(v) for v in value))]
    return [(prefix, "–" if value is None else str(value))]
