"""Which benchmarks changed between two sets of results.

A change is an interval of the ratio of two medians that leaves out everything within a margin of 1.
Two runs share no round, so a machine that was busier in one of them changes every row: the ratios
of the machine's own peaks stand beside.
"""

import pathlib
from collections.abc import Iterable
from typing import NamedTuple

from benchmarks import intervals, records
from benchmarks.intervals import Interval

MARGIN = 0.03


class Change(NamedTuple):
    """One side in both sets: how many times faster it is in the second."""

    name: str
    side: str
    speedup: Interval
    verdict: str


def verdict(speedup: Interval, margin: float = MARGIN) -> str:
    """ "faster" or "slower" where the interval is beyond the margin, "same" where it is within, and
    "open" where it is wider than that."""
    if speedup.low > 1 + margin:
        return "faster"
    if speedup.high < 1 / (1 + margin):
        return "slower"
    inside = speedup.low >= 1 / (1 + margin) and speedup.high <= 1 + margin
    return "same" if inside else "open"


def compare(
    before: Iterable[records.Record], after: Iterable[records.Record], margin: float = MARGIN
) -> list[Change]:
    """The sides that both sets have, by benchmark, processor and jaxlib; where each set is of one
    processor and one jaxlib, these may differ."""
    sets = [list(before), list(after)]
    single = all(len({records.place(r).parent for r in each}) <= 1 for each in sets)
    key = lambda record: record["name"] if single else str(records.place(record))
    first, second = ({key(record): record for record in each} for each in sets)
    changes = []
    for name in first.keys() & second.keys():
        changes += _changes(first[name], second[name], name.removesuffix(".json"), margin)
    return sorted(changes)


def _changes(before, after, name: str, margin: float) -> list[Change]:
    """Of one benchmark: its sides, then the peaks of the machine."""
    seconds = [
        {n: records.per_unit(s) for n, s in record["sides"].items() if s.get("seconds")}
        | {f"(peak of {n})": [1 / x for x in v] for n, v in record.get("peaks", {}).items()}
        for record in (before, after)
    ]
    found = []
    for side in seconds[0].keys() & seconds[1].keys():
        speedup = intervals.unpaired_ratio(seconds[0][side], seconds[1][side])
        found.append(Change(name, side, speedup, verdict(speedup, margin)))
    return found


def show(first: pathlib.Path, second: pathlib.Path, margin: float) -> str:
    """A line for each side, the changed ones first."""
    changes = compare(records.read(first), records.read(second), margin)
    if not changes:
        return f"no benchmark is in both {first} and {second}"
    order = {"slower": 0, "faster": 1, "open": 2, "same": 3}
    lines = [
        f"{c.verdict:6}  {c.speedup.value:6.3f} [{c.speedup.low:.3f}, {c.speedup.high:.3f}]"
        f"  {c.name}, {c.side}"
        for c in sorted(changes, key=lambda c: (order[c.verdict], c.name, c.side))
    ]
    title = f"times faster in {second} than in {first}; changed beyond {margin:.0%}: slower, faster"
    return "\n".join([title, *lines])
