"""One tracker in a thread of its own, which nothing waits for without a limit."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dgm_jax.trackers.contract import TrackedRun, Tracker

QUEUE_LENGTH = 4096  # messages that wait for a slow tracker
CALL_SECONDS = 120.0  # that one call of a tracker may take; the first one imports its package


class Message(NamedTuple):
    """A call for a tracker.

    Attributes:
        call: gets the tracker.
        total_step: of what is logged; a tracker that has it already is not called. None for calls
            that are always made.
    """

    call: Callable[[Tracker], None]
    total_step: int | None = None


class Worker:
    """Makes the calls of one tracker, one after the other, until it ends or is dropped.

    Args:
        name: of the tracker.
        make: returns the tracker; called in the thread.
        run: what is tracked.
        notify: shows a sentence.

    Attributes:
        dropped: whether the tracker has failed.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Tracker],
        run: TrackedRun,
        notify: Callable[[str], None],
    ) -> None:
        self.dropped = False
        self._name = name
        self._make = make
        self._run = run
        self._notify = notify
        self._lock = threading.Lock()
        self._messages: queue.Queue[Sequence[Message] | None] = queue.Queue(QUEUE_LENGTH)
        self._done = threading.Event()
        self._busy_since: float | None = None
        try:
            threading.Thread(target=self._work, daemon=True, name=f"tracker {name}").start()
        except RuntimeError as error:  # the system has no more threads
            self.drop(_one_line(error))

    def send(self, messages: Sequence[Message] | None) -> None:
        """Hand over calls without waiting; drops a tracker that hangs or is far behind.

        Args:
            messages: the calls, None after the last ones.
        """
        since = self._busy_since
        if since is not None and time.monotonic() - since > CALL_SECONDS:
            self.drop(f"it has not answered for {CALL_SECONDS:g} s")
        if self.dropped:
            return
        try:
            self._messages.put_nowait(messages)
        except queue.Full:
            self.drop(f"it is {QUEUE_LENGTH} steps behind")

    def wait(self, seconds: float) -> None:
        """Wait until all calls are made, but no longer than a limit; then drop the tracker.

        Args:
            seconds: the limit.
        """
        if not self.dropped and not self._done.wait(max(seconds, 0.0)):
            self.drop("it has not taken everything in time")

    def drop(self, reason: str) -> None:
        """Make no more calls, and say so once.

        Args:
            reason: a part of a sentence.
        """
        with self._lock:
            before = self.dropped
            self.dropped = True
        if not before:
            self._notify(f"tracker {self._name} is dropped: {reason}; the run does without it")

    def _tell(self, text: str) -> None:
        if not self.dropped:
            self._notify(f"tracker {self._name}: {text}")

    def _work(self) -> None:
        try:
            self._busy_since = time.monotonic()
            tracker = self._make()
            last = tracker.start(self._run, self._tell)
            self._busy_since = None
            while (messages := self._messages.get()) is not None:
                for message in messages:
                    if self.dropped:
                        return
                    if message.total_step is None or message.total_step > last:
                        self._busy_since = time.monotonic()
                        message.call(tracker)
                        self._busy_since = None
        except BaseException as error:  # whatever it is, the run is not concerned
            self.drop(_one_line(error))
        finally:
            self._busy_since = None
            self._done.set()


def _one_line(error: BaseException) -> str:
    """The kind of an error and the beginning of its message."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message[:200]}" if message else type(error).__name__
