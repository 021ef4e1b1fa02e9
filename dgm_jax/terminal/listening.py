"""A thread that hears signals while the main thread is in compiled code.

It acknowledges the first signal when the work goes on. If the process runs nothing but the command,
it ends the process when the time is over, as a kill would, which does not harm any file of a run
folder.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dgm_jax.terminal.signals import Stop

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTICE_SECONDS = 3.0  # from the first signal to the sentence that acknowledges it
LIMIT_SECONDS = 8.0  # from the first signal to the end of the process
AT_ONCE_SECONDS = 2.0  # from the second Ctrl-C to the end of the process


@contextlib.contextmanager
def listening(stop: "Stop", ends_process: bool) -> Iterator[None]:
    """Let a thread read signals from a pipe, into which Python writes the number of each at once.

    This works whatever the main thread does.

    Args:
        stop: the handler of the signals.
        ends_process: whether the process runs nothing but the command, and may be ended.

    Yields:
        Nothing.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    previous = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    done = threading.Event()
    listener = threading.Thread(
        target=_listen, args=(stop, reading, done, ends_process), name="signals", daemon=True
    )
    listener.start()
    try:
        yield
    finally:
        done.set()
        signal.set_wakeup_fd(previous)
        os.close(writing)  # the end of the file for the reader
        listener.join()
        os.close(reading)


def _listen(stop: "Stop", reading: int, done: threading.Event, ends_process: bool) -> None:
    """Read the signals of one command until it is done."""
    first = _next_signal(reading)
    if first is None or done.wait(0):
        return
    again = threading.Event()
    patience = threading.Thread(
        target=_be_patient, args=(stop, first, again, done, ends_process), daemon=True
    )
    patience.start()
    while (number := _next_signal(reading)) is not None:
        if number == signal.SIGINT:
            again.set()
    patience.join()


def _next_signal(reading: int) -> int | None:
    """Return the number of the next signal that ends a command, or None at the end of the pipe."""
    while content := os.read(reading, 1):
        if content[0] in SIGNALS:
            return content[0]
    return None


def _be_patient(
    stop: "Stop", first: int, again: threading.Event, done: threading.Event, ends_process: bool
) -> None:
    """Acknowledge the first signal if the work goes on, and end the process if it never ends."""
    limits = [(NOTICE_SECONDS, _notice), (LIMIT_SECONDS - NOTICE_SECONDS, None)]
    for seconds, show in limits:
        if _either(again, done, seconds):
            break
        if show is not None:
            show(stop, first, ends_process)
    if done.is_set() or not ends_process:
        return
    if again.is_set() and done.wait(AT_ONCE_SECONDS):
        return
    _end(stop, first)


def _either(one: threading.Event, other: threading.Event, seconds: float) -> bool:
    """Wait for one of two events; return False when the seconds are over."""
    step = 0.05
    for _ in range(max(1, round(seconds / step))):
        if one.is_set() or other.wait(step):
            return True
    return False


def _notice(stop: "Stop", first: int, ends_process: bool) -> None:
    """Show that the first signal was received."""
    more = "; a second Ctrl-C stops at once" if ends_process else ""
    stop.notify(f"{signal.Signals(first).name}: stopping after the work at hand{more}")


def _end(stop: "Stop", first: int) -> None:
    """End the process, whatever the main thread does."""
    stop.number = stop.number or first

    def say() -> None:
        with contextlib.suppress(Exception):
            stop.close()
        with contextlib.suppress(Exception):
            stop.tell(stop.sentence())

    thread = threading.Thread(target=say, daemon=True)  # writing to the terminal may block
    thread.start()
    thread.join(1.0)
    os._exit(128 + stop.number)
