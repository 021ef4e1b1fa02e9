"""Numbers, intervals and settings as text for a reader: on the page and in the terminal."""

import math
from collections.abc import Sequence
from typing import Any

MAX_TEXT = 4000  # characters of one text on the page
MAX_DEPTH = 12  # of nested settings; what is deeper is cut
MAX_LEAVES = 2000
_MARKS = {"\n", "\t", "\xa0"}


def clean(value: Any) -> str:
    """Makes text safe to show: invisible characters become U+FFFD, and its length is limited.

    Replaced are control characters, characters that change the direction of the text, lone
    surrogates and unassigned code points. Longer texts are cut at 4,000 characters.

    Args:
        value: anything.

    Returns:
        Its text.
    """
    try:
        text = str(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; deep nesting
        text = f"a {type(value).__name__} too large to show"
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _MARKS else "\ufffd" for c in text)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Lines up the columns of a table, the first by its left edge and the others by their right.

    Args:
        rows: as many texts in each; the first row is the heading, and a rule follows it.

    Returns:
        A line for each row and the rule, without characters that cannot be printed.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * width for width in widths]
    lines = []
    for name, *values in (rows[0], rule, *rows[1:]):
        texts = [name.ljust(widths[0]), *map(str.rjust, values, widths[1:])]
        lines.append(printed("  ".join(texts).rstrip()))
    return "\n".join(lines)


def printed(line: str) -> str:
    """Puts a question mark in the place of each character that a terminal cannot print.

    Args:
        line: without ends of lines.

    Returns:
        Text of the same length.
    """
    return "".join(c if c.isprintable() else "?" for c in line)


def number(value: Any, missing: str = "–") -> str:
    """A number with four significant digits; integers stay as they are.

    Args:
        value: anything.
        missing: the text for None and for numbers that are not finite.

    Returns:
        Its text.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return missing if value is None else clean(value)
    if isinstance(value, int) or value == 0:
        return clean(value) if value else "0"
    if not math.isfinite(value):
        return missing
    size = abs(value)
    if not 1e-4 <= size < 1e7:
        return f"{value:.3e}"
    digits = max(0, 3 - math.floor(math.log10(size)))
    return f"{value:.{digits}f}"


def given(value: Any) -> str:
    """A published value as it was published, without added digits.

    Args:
        value: a number, or a text.

    Returns:
        Its text.
    """
    return f"{value:.6g}" if is_number(value) else clean(value)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number that fits a float, and no truth value.

    Args:
        value: anything.

    Returns:
        True or False.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= 1.7e308


def interval(value: Any, missing: str = "–") -> str:
    """An interval as `[low, high]`.

    Args:
        value: a pair of numbers, or anything else.
        missing: the text if there is no interval.

    Returns:
        Its text.
    """
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return f"[{number(value[0], missing)}, {number(value[1], missing)}]"
    return missing


def p_value(value: Any) -> str:
    """A p-value with three decimals, or `< 0.001`.

    Args:
        value: a number, or anything else.

    Returns:
        Its text.
    """
    if not is_number(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: Any) -> str:
    """A duration such as `42 s`, `4 min 32 s` or `3 h 05 min`.

    Args:
        seconds: a number, or anything else.

    Returns:
        Its text.
    """
    if not is_number(seconds) or seconds < 0:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def failed_seed_text(entry: Any) -> str:
    """A failed seed as text, such as `seed 3 of vanilla at step 120: loss`.

    Args:
        entry: the number of a seed, or {"seed", "arm", "step", "metric"}.

    Returns:
        Its text.
    """
    if not isinstance(entry, dict):
        return f"seed {clean(entry)}"
    text = f"seed {clean(entry.get('seed', '?'))}"
    text += f" of {clean(entry['arm'])}" if entry.get("arm") else ""
    text += f" at step {clean(entry['step'])}" if entry.get("step") is not None else ""
    reason = entry.get("reason") or entry.get("metric")
    return text + (f": {clean(reason)}" if reason else "")


def leaves(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """The leaves of a JSON object, for a table.

    Args:
        value: the object.
        prefix: the name of the object.

    Returns:
        Rows (dotted name, text): at most 2,000, and nothing deeper than 12 levels.
    """
    rows: list[tuple[str, str]] = []
    _collect(value, prefix, 0, rows)
    if len(rows) >= MAX_LEAVES:
        rows.append(("…", f"only the first {MAX_LEAVES} entries are shown"))
    return rows


def _collect(value: Any, prefix: str, depth: int, rows: list[tuple[str, str]]) -> None:
    nested = isinstance(value, (dict, list))
    if len(rows) >= MAX_LEAVES:
        return
    if nested and depth >= MAX_DEPTH:
        rows.append((prefix, f"deeper than {MAX_DEPTH} levels: not shown"))
    elif isinstance(value, dict):
        for key, v in value.items():
            _collect(v, f"{prefix}.{clean(key)}" if prefix else clean(key), depth + 1, rows)
    elif isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value):
        for i, v in enumerate(value):
            _collect(v, f"{prefix}[{i}]", depth + 1, rows)
    elif isinstance(value, list):
        shown = ", ".join(clean(v) for v in value[:200])
        rows.append((prefix, shown + (f" … ({len(value)} in all)" if value[200:] else "")))
    else:
        rows.append((prefix, "–" if value is None else clean(value)))
