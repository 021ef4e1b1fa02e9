"""How long JAX traces, lowers and compiles, as JAX itself reports it.

JAX reports a duration when a stage ends. A program that calls another compiled function is traced
while that one is, so durations may lie within each other: what counts is the length of their union.
"""

import sys
import time
from collections.abc import Callable, Iterable

_EVENTS = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
    "/jax/core/compile/backend_compile_duration": "compile",
}


def union_length(intervals: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals (start, end).

    >>> union_length([(0.0, 2.0), (1.0, 3.0), (5.0, 6.0)])
    4.0
    """
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


class Stages:
    """Collects the stages of every program that is made within a `with` block.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._intervals: dict[str, list[tuple[float, float]]] = {n: [] for n in _EVENTS.values()}
        self._listening = False

    def add(self, event: str, duration_secs: float, **_: object) -> None:
        """Notes an event that ends now, as JAX calls its listeners."""
        if self._listening and event in _EVENTS:
            now = self._clock()
            self._intervals[_EVENTS[event]].append((now - duration_secs, now))

    def __enter__(self) -> "Stages":
        self._listening = True
        if "jax" in sys.modules:
            import jax.monitoring

            jax.monitoring.register_event_duration_secs_listener(self.add)
        return self

    def __exit__(self, *_: object) -> None:
        self._listening = False

    def seconds(self) -> dict[str, float]:
        """{stage: seconds}, of all programs together."""
        return {name: union_length(found) for name, found in self._intervals.items()}
