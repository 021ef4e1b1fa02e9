"""A chunk made in parts, so that the host can react within seconds.

One compiled program makes any number of steps, so parts cost no compilation, and the bits of a
chunk do not depend on where it is cut.
"""

import time
from collections.abc import Callable

import jax

from dgm_jax.core import Lane, Metrics, PyTree, Sums
from dgm_jax.parallel import processes

PART_SECONDS = 2.0  # duration of a part, once that of a step is known
_GROWTH = 16  # a part has at most this many times the steps of the one before


def in_parts(
    program: Callable[..., tuple[Lane, Sums, Metrics]],
    *,
    between: Callable[[int], None] | None = None,
    seconds: float = PART_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    take: Callable[[int], tuple[PyTree, int]] | None = None,
) -> Callable[[Lane, PyTree, int], tuple[Lane, Metrics]]:
    """Make an `advance` for `training.run` that makes a chunk part by part.

    Args:
        program: of `parallel.Distributed.compile_advance`. The very first part is one step; later
            ones are as long as the measured rate allows.
        between: called between two parts of a chunk with the number of the chunk's steps made so
            far. An exception that it raises ends the chunk; its lanes are lost then, and the last
            checkpoint is the newest state.
        seconds: longest duration of a part, by the clock of process 0.
        clock: returns the time in seconds.
        take: `at most so many steps -> (their data, number of steps)`, in the order of the run,
            such as `Feed.take`: what the steps read in place of the data of `advance`.

    Returns:
        `advance(lanes, data, num_steps) -> (lanes, metrics)`.
    """
    longest = 1

    def advance(lanes: Lane, data: PyTree, num_steps: int) -> tuple[Lane, Metrics]:
        nonlocal longest
        sums = None
        remaining = num_steps
        while remaining > 0:
            size = min(longest, remaining)
            read, size = (data, size) if take is None else take(size)
            start = clock()
            results = program(lanes, read, size, sums, size == remaining)
            lanes, sums, metrics = jax.block_until_ready(results)
            duration = clock() - start
            fitting = int(seconds * size / duration) if duration > 0 else _GROWTH * size
            fitting = processes.agreed(min(fitting, 2**30))
            longest = max(1, min(fitting, _GROWTH * max(size, longest)))
            remaining -= size
            if remaining and between is not None:
                between(num_steps - remaining)
        return lanes, metrics

    return advance
