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
    characters = [c if c.isprintable() or c in _MARKS else "\ufffd" for c in text]
    return "".join(characters)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Lines up the columns of a table, the first by its left edge and the others by their right.

    Args:
        rows: as many texts in each; the first row is the heading, and a rule follows it.

    Returns:
        A line for each row and the rule, without characters that cannot be printed.
    """
    columns = zip(*rows, strict=True)
    widths = [max(map(len, column)) for column in columns]
    rule = ["-" * width for width in widths]
    lines = []
    for name, *values in (rows[0], rule, *rows[1:]):
        first = name.ljust(widths[0])
        others = map(str.rjust, values, widths[1:])
        line = "  ".join([first, *others])
        lines.append(printed(line.rstrip()))
    return "\n".join(lines)


def printed(line: str) -> str:
    """Puts a question mark in the place of each character that a terminal cannot print.

    Args:
        line: without ends of lines.

    Returns:
        Text of the same length.
    """
    characters = [c if c.isprintable() else "?" for c in line]
    return "".join(characters)


def number(value: Any, missing: str = "–") -> str:
    """A number with four significant digits; integers stay as they are.

    Args:
        value: anything.
        missing: the text for None and for numbers that are not finite.

    Returns:
        Its text.
    """
    if value is None:
        return missing
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return clean(value)
    if value == 0:
        return "0"
    if isinstance(value, int):
        return clean(value)
    if not math.isfinite(value):
        return missing
    size = abs(value)
    if not 1e-4 <= size < 1e7:
        return f"{value:.3e}"
    exponent = math.floor(math.log10(size))
    digits = max(0, 3 - exponent)
    return f"{value:.{digits}f}"


def given(value: Any) -> str:
    """A published value as it was published, without added digits.

    Args:
        value: a number, or a text.

    Returns:
        Its text.
    """
    if is_number(value):
        return f"{value:.6g}"
    return clean(value)


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
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return missing
    low = number(value[0], missing)
    high = number(value[1], missing)
    return f"[{low}, {high}]"


def p_value(value: Any) -> str:
    """A p-value with three decimals, or `< 0.001`.

    Args:
        value: a number, or anything else.

    Returns:
        Its text.
    """
    if not is_number(value):
        return "–"
    if value < 0.001:
        return "< 0.001"
    return f"{value:.3f}"


def duration(seconds: Any) -> str:
    """A duration such as `42 s`, `4 min 32 s` or `3 h 05 min`.

    Args:
        seconds: a number, or anything else.

    Returns:
        Its text.
    """
    if not is_number(seconds) or seconds < 0:
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
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
    if entry.get("arm"):
        text += f" of {clean(entry['arm'])}"
    if entry.get("step") is not None:
        text += f" at step {clean(entry['step'])}"
    reason = entry.get("reason") or entry.get("metric")
    if reason:
        text += f": {clean(reason)}"
    return text


def parameters_text(summary: dict) -> str:
    """The number of parameters in words.

    Args:
        summary: the content of summary.json.

    Returns:
        `17,666 parameters`, with the least and the most if arms differ; "" if unknown.
    """
    num_parameters = summary.get("num_parameters")
    if not isinstance(num_parameters, dict):
        return ""
    sizes = [size for size in num_parameters.values() if is_number(size)]
    if not sizes:
        return ""
    low = min(sizes)
    high = max(sizes)
    if low == high:
        return f"{low:,} parameters"
    return f"{low:,} to {high:,} parameters"


def commit_of(surroundings: dict) -> str | None:
    """The commit that a run was made with.

    Args:
        surroundings: the content of environment.json.

    Returns:
        The commit, with a note on local changes; None if unknown.
    """
    git = surroundings.get("git")
    if not isinstance(git, dict) or not git.get("commit"):
        return None
    commit = clean(git["commit"])
    if git.get("dirty"):
        return f"{commit} with local changes"
    return commit


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
    """Adds the leaves of a value to the rows."""
    nested = isinstance(value, (dict, list))
    if len(rows) >= MAX_LEAVES:
        return
    if nested and depth >= MAX_DEPTH:
        rows.append((prefix, f"deeper than {MAX_DEPTH} levels: not shown"))
    elif isinstance(value, dict):
        for key, v in value.items():
            name = clean(key)
            path = f"{prefix}.{name}" if prefix else name
            _collect(v, path, depth + 1, rows)
    elif isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value):
        for i, v in enumerate(value):
            _collect(v, f"{prefix}[{i}]", depth + 1, rows)
    else:
        rows.append((prefix, _leaf_text(value)))


def _leaf_text(value: Any) -> str:
    """A value that holds no other table; of a list at most 200 entries."""
    if value is None:
        return "–"
    if not isinstance(value, list):
        return clean(value)
    text = ", ".join(clean(v) for v in value[:200])
    if len(value) > 200:
        text += f" … ({len(value)} in all)"
    return text
