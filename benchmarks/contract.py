"""What a benchmark declares, and what one of its sides prepares.

A *benchmark* is a row of the table: an amount of work and the sides that do it. A *side* is a
function in a process of its own: the library, or a peer that a user would otherwise take. The
declarations import neither JAX nor PyTorch, so that `--list` is immediate and the time that a side
takes to import is its own.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

FAMILIES = "benchmarks.families"
OURS, PEER, BESIDE = "ours", "peer", "beside"


class Case(NamedTuple):
    """Work that is ready to be timed.

    Attributes:
        call: does the work and returns its whole result, on which the harness blocks.
        count: units of work in one call, such as seeds times steps.
    """

    call: Callable[[], object]
    count: float


class Side(NamedTuple):
    """One way to do the work of a benchmark.

    Attributes:
        target: "MODULE:FUNCTION" under `benchmarks.families`, or an absolute module after a slash;
            the function takes the options and returns a `Case`.
        options: its keyword arguments, as JSON has them. `steps` is 1 in a quick run.
        role: OURS, PEER, or BESIDE for a peer at another precision or on other terms, which is
            measured and stored but no ratio is taken to. The first side that is OURS is the one in
            the table.
        environment: variables of its process, such as XLA_FLAGS.
        slow: left out of a quick run, since it compiles for minutes.
    """

    target: str
    options: Mapping[str, Any] = {}
    role: str = OURS
    environment: Mapping[str, str] = {}
    slow: bool = False


class Benchmark(NamedTuple):
    """A row of the table.

    Attributes:
        name: of the row, and of its files.
        family: the name under which rows stand together.
        size: what distinguishes it within the family, for a person.
        unit: of the work, such as "seed-steps".
        sides: by name.
        seeds: that train at once.
        flops: floating-point operations of a unit, by formula: products and convolutions only, so
            a lower bound; None where there are none to speak of.
        num_bytes: that a unit must at least read and write, by formula; None where not counted.
        check: a side whose function returns a dictionary of facts, or raises `Unequal`, before
            anything is timed.
        unchecked: why no equality with the peer is asserted, where it is not.
    """

    name: str
    family: str
    size: str
    unit: str
    sides: Mapping[str, Side]
    seeds: int = 1
    flops: float | None = None
    num_bytes: float | None = None
    check: Side | None = None
    unchecked: str = ""


class Unequal(Exception):
    """Two sides do not compute the same."""


def require_close(differences: Mapping[str, float], tolerance: float) -> dict:
    """The differences, for the record; raises `Unequal` where one of them is above the tolerance or
    not a number."""
    wrong = {name: value for name, value in differences.items() if not value <= tolerance}
    if wrong:
        raise Unequal(f"the sides do not compute the same (at most {tolerance}): {wrong}")
    return dict(differences)


def function_of(target: str) -> Callable[..., Any]:
    """The function of a side; imports its module."""
    module, _, name = target.partition(":")
    absolute = module[1:] if module.startswith("/") else f"{FAMILIES}.{module}"
    return getattr(importlib.import_module(absolute), name)
