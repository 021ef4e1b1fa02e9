"""Values of a grid by a rule: `log:1e-5..1e-2:6`, `lin:0..1:5`, `random:log:1e-5..1e-2:8`.

Random values are a function of the text and of the setting's name, so the same command gives the
same run; another seed may be added at the end, `random:log:1e-5..1e-2:8:SEED`.
"""

import math
import re

import numpy as np

from dgm_jax.core import require

FORMS = "log:LOW..HIGH:N, lin:LOW..HIGH:N, random:log:LOW..HIGH:N[:SEED], random:lin:..."
MOST = 1000  # values; each is an arm, with all its seeds
_DIGITS = 6  # of a value between the ends, for names of arms that can be read
_RANGE = re.compile(
    r"(?P<random>random:)?(?P<scale>log|lin):(?P<low>[^:]+)\.\.(?P<high>[^:]+):(?P<count>\d+)"
    r"(?::(?P<seed>\d+))?"
)


def is_range(text: str) -> bool:
    """Whether a text is meant as a range, well-formed or not.

    Args:
        text: a value of the flag --grid.

    Returns:
        True or False.
    """
    return text.split(":")[0] in ("log", "lin", "random") and ":" in text


def values(name: str, text: str, kind: type) -> list:
    """The numbers of a range.

    Args:
        name: of the setting.
        text: as in the module's first line. Evenly spaced values include both ends.
        kind: float, or int for values that are rounded to whole numbers.

    Returns:
        Different numbers, in ascending order.

    Raises:
        ConfigError: the text is no range, or its numbers do not suit the setting.
    """
    match = _RANGE.fullmatch(text)
    if match is None or match["seed"] is not None and not match["random"]:
        require(False, f"{name}={text} is no range; the forms are {FORMS}")
    assert match is not None
    low, high = (_number(name, text, match[end], kind) for end in ("low", "high"))
    count = int(match["count"])
    is_log = match["scale"] == "log"
    require(low < high, f"{name}={text}: the first end must be less than the last")
    require(low > 0 or not is_log, f"{name}={text}: a log range begins above 0, got {low}")
    least = 1 if match["random"] else 2
    require(least <= count <= MOST, f"{name}={text}: takes {least} to {MOST} values, got {count}")
    if match["random"]:
        generator = np.random.default_rng([int(match["seed"] or 0), *name.encode()])
        shares = iter(generator.random(100 * count).tolist())
    else:
        shares = (i / (count - 1) for i in range(count))
    # One that is drawn again, being rounded, makes room for another.
    different: dict[float, None] = {}
    while len(different) < count and (share := next(shares, None)) is not None:
        number = _between(low, high, share, is_log)
        different[round(number) if kind is int else number] = None
    message = f"{name}={text}: {count} values of that range are not all different"
    require(len(different) == count, message)
    return sorted(different)


def _number(name: str, text: str, end: str, kind: type) -> float:
    try:
        number = kind(end)
    except ValueError:
        number = math.nan
    require(math.isfinite(number), f"{name}={text}: {end!r} is no finite {kind.__name__}")
    return number


def _between(low: float, high: float, share: float, is_log: bool) -> float:
    """The number at a share of the way from low to high; the ends exactly as given."""
    if share in (0, 1):
        return high if share else low
    if is_log:
        at = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        at = low + share * (high - low)
    return float(f"{at:.{_DIGITS}g}")
