"""Ctrl-C and SIGTERM end a run between chunks, after its state is saved."""

import contextlib
import signal


class Interrupted(Exception):
    """A signal asked the run to stop; the state was saved at the end of the chunk."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Stop:
    """Remembers a signal until the chunk is over; the second Ctrl-C stops at once."""

    def __init__(self):
        self.number = None

    def __call__(self, number, frame):
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number

    def check(self) -> None:
        """Raises `Interrupted` if a signal came."""
        if self.number is not None:
            raise Interrupted(self.number)


@contextlib.contextmanager
def watch_signals():
    """A `Stop` that hears of SIGINT and SIGTERM while the block runs; the old handlers come back
    after it."""
    stop = Stop()
    try:
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, where Python delivers no signals
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
