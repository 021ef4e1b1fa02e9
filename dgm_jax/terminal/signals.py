"""Handling of Ctrl-C and SIGTERM: a command ends within seconds, its files intact, no traceback.

The first signal raises `Interrupted`, at once or, where work must not be interrupted (`held`), at
the next `check`. Python can raise nothing while compiled code runs, and compiling or a last
evaluation may take minutes. Therefore a thread listens as well: if the process runs nothing but the
command, the thread ends it when the time is over, as a kill would, which does not harm any file of
a run folder.
"""

import contextlib
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTICE_SECONDS = 3.0  # from the first signal to the sentence that acknowledges it
LIMIT_SECONDS = 8.0  # from the first signal to the end of the process
AT_ONCE_SECONDS = 2.0  # from the second Ctrl-C to the end of the process
AGAIN = "nothing was changed: give the same command again"


class Interrupted(KeyboardInterrupt):
    """A signal asked the command to end. What was saved before is intact.

    Args:
        number: of the signal.

    Attributes:
        exit_code: 128 + number, as a shell reports it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Stop:
    """The handler of the signals of one command.

    Args:
        notify: shows a sentence.

    Attributes:
        number: the first signal that arrived, or None.
        raised: whether `Interrupted` was raised for it.
        outlook: returns what follows "stopped by SIGINT; ": what is saved, and how to continue.
        tell: shows the last sentence.
        notify: shows a sentence while the work continues.
        close: restores the terminal before the process is ended.
        agree: `check` gives it the signal of this process and takes that of all processes.
        ends_process: whether the process runs nothing but the command.
    """

    def __init__(self, notify: Callable[[str], None]) -> None:
        self.number: int | None = None
        self.raised = False
        self.outlook: Callable[[], str] = lambda: AGAIN
        self.tell = notify
        self.notify = notify
        self.close: Callable[[], None] = lambda: None
        self.agree: Callable[[int | None], int | None] = lambda number: number
        self.ends_process = False
        self._holds = 0

    def __call__(self, number: int, frame: types.FrameType | None) -> None:
        """Handle a signal: raise once, and not at all inside `hold`.

        Args:
            number: of the signal.
            frame: where the program was interrupted.

        Raises:
            Interrupted: for the first signal outside of `hold`.
        """
        self.number = self.number or number
        if not self._holds and not self.raised:
            self.raised = True
            raise Interrupted(self.number)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Remember signals inside a context and do not raise them; `check` does.

        Yields:
            Nothing.
        """
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1

    def check(self) -> None:
        """Raise what a signal has asked for.

        Raises:
            Interrupted: a signal has arrived.
        """
        self.number = self.agree(self.number)
        if self.number is not None:
            self.raised = True  # so that no later signal is raised while this one is handled
            raise Interrupted(self.number)

    def sentence(self) -> str:
        """Return why the command has stopped, and how to continue.

        Returns:
            The sentence; a signal must have arrived.
        """
        assert self.number is not None
        return f"stopped by {signal.Signals(self.number).name}; {self.outlook()}"


_current: Stop | None = None  # signals belong to the process, and so does their handler


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Apply `Stop.hold` of the current handler, if there is one.

    Yields:
        Nothing.
    """
    with _current.hold() if _current is not None else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Hold signals during imports, which must not be interrupted, and raise them afterwards.

    Yields:
        Nothing.

    Raises:
        Interrupted: a signal has arrived.
    """
    with held():
        yield
    check()


def check() -> None:
    """Apply `Stop.check` of the current handler, if there is one.

    Raises:
        Interrupted: a signal has arrived.
    """
    if _current is not None:
        _current.check()


def ends_process() -> bool:
    """Return whether the process runs nothing but the present command."""
    return _current is not None and _current.ends_process


@contextlib.contextmanager
def watch_signals(
    notify: Callable[[str], None] = lambda text: None, ends_process: bool = False
) -> Iterator[Stop]:
    """Handle SIGINT and SIGTERM by a `Stop` inside a context.

    Args:
        notify: shows a sentence.
        ends_process: whether the process runs nothing but this command. Then it is ended if it does
            not respond, and signals after the context, when all work is done, are ignored.
            Otherwise the previous handlers are restored.

    Yields:
        The handler; the current one if there is one already.
    """
    global _current
    if _current is not None:
        yield _current
        return
    stop = Stop(notify)
    stop.ends_process = ends_process
    try:
        previous = {number: signal.signal(number, stop) for number in SIGNALS}
    except ValueError:  # not in the main thread, where Python delivers no signals
        yield stop
        return
    _current = stop
    hook = sys.unraisablehook
    sys.unraisablehook = _without_interruptions(hook)
    try:
        with _listening(stop, ends_process):
            yield stop
    except BaseException:
        ends_process = False
        raise
    finally:
        _current = None
        sys.unraisablehook = hook
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_IGN if ends_process else handler)


def _without_interruptions(hook: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Make a hook say nothing of a signal that came while an object was deleted.

    `Stop` remembers that signal.
    """

    def quiet(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            hook(unraisable)

    return quiet


@contextlib.contextmanager
def _listening(stop: Stop, ends_process: bool) -> Iterator[None]:
    """Let a thread read signals from a pipe, into which Python writes the number of each at once.

    This works whatever the main thread does.
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


def _listen(stop: Stop, reading: int, done: threading.Event, ends_process: bool) -> None:
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
    stop: Stop, first: int, again: threading.Event, done: threading.Event, ends_process: bool
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


def _notice(stop: Stop, first: int, ends_process: bool) -> None:
    """Show that the first signal was received."""
    more = "; a second Ctrl-C stops at once" if ends_process else ""
    stop.notify(f"{signal.Signals(first).name}: stopping after the work at hand{more}")


def _end(stop: Stop, first: int) -> None:
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
