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
    form, colon, _ = text.partition(":")
    return bool(colon) and form in ("log", "lin", "random")


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
    entry = f"{name}={text}"
    match = _RANGE.fullmatch(text)
    if match is not None and match["seed"] is not None and not match["random"]:
        match = None  # only random values have a seed
    require(match is not None, f"{entry} is no range; the forms are {FORMS}")
    assert match is not None
    low = _number(entry, match["low"], kind)
    high = _number(entry, match["high"], kind)
    count = int(match["count"])
    is_log = match["scale"] == "log"
    is_random = bool(match["random"])
    require(low < high, f"{entry}: the first end must be less than the last")
    require(low > 0 or not is_log, f"{entry}: a log range begins above 0, got {low}")
    least = 1 if is_random else 2
    require(least <= count <= MOST, f"{entry}: takes {least} to {MOST} values, got {count}")
    if is_random:
        seed = int(match["seed"] or 0)
        shares = _random_shares(name, seed, count)
    else:
        shares = [i / (count - 1) for i in range(count)]
    # One that is drawn again, being rounded, makes room for another.
    different: dict[float, None] = {}
    for share in shares:
        number = _between(low, high, share, is_log)
        if kind is int:
            number = round(number)
        different[number] = None
        if len(different) == count:
            break
    message = f"{entry}: {count} values of that range are not all different"
    require(len(different) == count, message)
    return sorted(different)


def _random_shares(name: str, seed: int, count: int) -> list[float]:
    """Random numbers from 0 to 1, enough for `count` values although some are drawn again."""
    generator = np.random.default_rng([seed, *name.encode()])
    return generator.random(100 * count).tolist()


def _number(entry: str, end: str, kind: type) -> float:
    try:
        number = kind(end)
    except ValueError:
        number = math.nan
    require(math.isfinite(number), f"{entry}: {end!r} is no finite {kind.__name__}")
    return number


def _between(low: float, high: float, share: float, is_log: bool) -> float:
    """The number at a share of the way from low to high; the ends exactly as given."""
    if share == 0:
        return low
    if share == 1:
        return high
    if is_log:
        log_low = math.log(low)
        log_high = math.log(high)
        number = math.exp(log_low + share * (log_high - log_low))
    else:
        number = low + share * (high - low)
    return float(f"{number:.{_DIGITS}g}")
