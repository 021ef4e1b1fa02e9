"""The rate of steps in a training, without its pauses."""

import collections
from collections.abc import Callable


class Rate:
    """Steps a second over the last twenty updates.

    Args:
        clock: returns the time in seconds.
        step: number of steps made before.
    """

    def __init__(self, clock: Callable[[], float], step: int) -> None:
        self._clock = clock
        self._pauses: list[tuple[float, float]] = []
        self._updates = collections.deque([(clock(), step)], maxlen=20)

    def pause(self, start: float) -> None:
        """Leave out the time since `start`. Pauses may overlap.

        Args:
            start: by the clock.
        """
        self._pauses.append((start, self._clock()))

    def update(self, step: int) -> None:
        """Note the present time for a step.

        Args:
            step: number of steps made.
        """
        self._updates.append((self._now(), step))

    def at(self, step: int) -> float | None:
        """Return the rate from the oldest update to now.

        Args:
            step: number of steps made by now.

        Returns:
            Steps a second; None if no time has passed or no step was made.
        """
        time_before, step_before = self._updates[0]
        seconds = self._now() - time_before
        steps = step - step_before
        return steps / seconds if seconds > 0 and steps > 0 else None

    def _now(self) -> float:
        """Return the time without pauses."""
        paused = 0.0
        reached = -float("inf")
        for start, end in sorted(self._pauses):
            paused += max(0.0, end - max(start, reached))
            reached = max(reached, end)
        return self._clock() - paused
