"""How the time before the first step is divided among its causes."""

import pytest

from benchmarks import first_step


class Clock:
    """Two clocks that are set by hand; the second runs at twice the speed of the first."""

    def __init__(self):
        self.now = 10.0

    def __call__(self):
        return self.now, 2 * self.now


def test_what_is_nested_counts_where_it_is_innermost():
    clock = Clock()
    split = first_step.Split("imports", (7.0, 14.0), clock)
    for at, what in (
        (11.0, lambda: split.stage("preparing")),
        (12.0, lambda: split.enter("tracing")),
        (14.0, lambda: split.enter("compiling")),  # of an operation on constants
        (17.0, split.leave),
        (18.0, lambda: split.enter("tracing")),  # of a function inside of the function
        (20.0, split.leave),
        (21.0, split.leave),
        (25.0, lambda: split.stage("step")),
        (26.0, split.end),
        (27.0, lambda: split.enter("tracing")),  # beside the step, and not waited for
        (30.0, split.leave),
        (31.0, lambda: split.stage("after")),
    ):
        clock.now = at
        what()
    seconds = {
        "imports": 4,
        "preparing": 1 + 4,
        "tracing": 2 + 1 + 2 + 1,
        "compiling": 3,
        "step": 1,
    }
    assert split.seconds == {name: [value, 2 * value] for name, value in seconds.items()}
    assert sum(spent[0] for spent in split.seconds.values()) == pytest.approx(26 - 7)


def test_a_row_has_the_sum_of_all_causes():
    seconds = {cause: [1.0, 2.0] for cause in first_step.COLUMNS}
    text = first_step.row("gan_ring", "cold", {"seconds": seconds, "programs": 5, "from_cache": 3})
    name, side, processor, wall, programs, *parts = text.split()
    assert (name, side, programs) == ("gan_ring", "cold", "3/5")
    assert (float(processor), float(wall)) == (2.0 * len(parts), 1.0 * len(parts))
    assert len(parts) == len(first_step.COLUMNS)
