"""A chunk in parts, so that whoever waits for it is heard within seconds.

One compiled program makes any number of steps, so the parts cost no compilation, and wherever a
chunk is cut its bits are those of the whole.
"""

import time
from collections.abc import Callable

import jax

from dgm_jax.core import Lane, Metrics, PyTree

PART_SECONDS = 2.0  # what a part may take, once it is known how long a step does
_GROWTH = 16  # a part has at most so many times the steps of the one before it


def in_parts(
    program: Callable,
    *,
    between: Callable[[int], None] | None = None,
    seconds: float = PART_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Callable[[Lane, PyTree, int], tuple[Lane, Metrics]]:
    """`advance(lanes, data, num_steps) -> (lanes, metrics)` for `training.run`, one part at a time.

    Args:
        program: of `parallel.Distributed.compile_advance`. The first part of all is one step; those
            that follow are as long as the rate of the one before allows.
        between: called between two parts of a chunk with the number of its steps that are made.
            What it raises ends the chunk: its lanes are lost then, and the last checkpoint stands.
        seconds: what a part should take at most.
        clock: tells the seconds.
    """
    longest = 1

    def advance(lanes, data, num_steps):
        nonlocal longest
        sums, left = None, num_steps
        while left > 0:
            size = min(longest, left)
            start = clock()
            lanes, sums, metrics = jax.block_until_ready(
                program(lanes, data, size, sums, size == left)
            )
            took = clock() - start
            fitting = int(seconds * size / took) if took > 0 else _GROWTH * size
            longest = max(1, min(fitting, _GROWTH * max(size, longest)))
            left -= size
            if left and between is not None:
                between(num_steps - left)
        return lanes, metrics

    return advance
