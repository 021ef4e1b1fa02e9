"""Ctrl-C and SIGTERM end a command within seconds, with what was saved sound and no traceback.

The first signal is an `Interrupted`, raised at once or, where work must not be cut (`held`), at the
next `check`. Python can raise nothing while compiled code runs, and compiling or a last evaluation
may take minutes. So a thread listens too: a process that is nothing but the command is ended by it
when the time is over, as by a kill, which no file of a run folder minds.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTICE_SECONDS = 3.0  # after the first signal: a sentence that it was heard
LIMIT_SECONDS = 8.0  # after the first signal: the end
AT_ONCE_SECONDS = 2.0  # after the second Ctrl-C: the end
AGAIN = "nothing was changed: give the same command again"


class Interrupted(KeyboardInterrupt):
    """A signal asked for the end. What was saved before is sound."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Stop:
    """Hears the signals of one command.

    Attributes:
        number: the first signal that came, or None.
        raised: whether it was raised at once, wherever the work was.
        outlook: what to say after "stopped by SIGINT; ": what is saved, and how it goes on.
        tell: shows the last sentence.
        notify: shows a sentence while the work goes on.
        close: gives the terminal back before the process is ended.
    """

    def __init__(self, notify: Callable[[str], None]):
        self.number: int | None = None
        self.outlook: Callable[[], str] = lambda: AGAIN
        self.tell = self.notify = notify
        self.close: Callable[[], None] = lambda: None
        self._holds, self.raised = 0, False

    def __call__(self, number, frame):
        """The handler: raises once, and where work is held not at all."""
        self.number = self.number or number
        if not self._holds and not self.raised:
            self.raised = True
            raise Interrupted(self.number)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Meanwhile a signal is remembered and not raised; `check` raises it."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1

    def check(self) -> None:
        """Raises `Interrupted` if a signal came."""
        if self.number is not None:
            self.raised = True  # so that no later one is raised into what is done about this one
            raise Interrupted(self.number)

    def sentence(self) -> str:
        """Why the command has stopped, and how it goes on."""
        assert self.number is not None
        return f"stopped by {signal.Signals(self.number).name}; {self.outlook()}"


_current: Stop | None = None  # signals belong to the process, and so does who hears them


@contextlib.contextmanager
def held() -> Iterator[None]:
    """`Stop.hold` of whoever hears signals now, if anybody does."""
    with _current.hold() if _current is not None else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Around imports, which nothing should be raised into: a signal is raised at their end."""
    with held():
        yield
    check()


def check() -> None:
    """`Stop.check` of whoever hears signals now, if anybody does."""
    if _current is not None:
        _current.check()


@contextlib.contextmanager
def watch_signals(
    notify: Callable[[str], None] = lambda text: None, ends_process: bool = False
) -> Iterator[Stop]:
    """A `Stop` that hears SIGINT and SIGTERM while the block runs; the present one where there is
    one.

    Args:
        notify: shows a sentence.
        ends_process: whether the process is nothing but this command. Then it is ended when it does
            not answer, and signals that come after the block, when all is done, are ignored. Else
            the handlers of before come back.
    """
    global _current
    if _current is not None:
        yield _current
        return
    stop = Stop(notify)
    try:
        before = {number: signal.signal(number, stop) for number in SIGNALS}
    except ValueError:  # not in the main thread, where Python delivers no signals
        yield stop
        return
    _current = stop
    hook, sys.unraisablehook = sys.unraisablehook, _without_interruptions(sys.unraisablehook)
    try:
        with _listening(stop, ends_process):
            yield stop
    except BaseException:
        ends_process = False
        raise
    finally:
        _current = None
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if ends_process else handler)


def _without_interruptions(hook):
    """A signal that came while an object was thrown away is remembered: nothing is to be said."""

    def quiet(unraisable):
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            hook(unraisable)

    return quiet


@contextlib.contextmanager
def _listening(stop: Stop, ends_process: bool) -> Iterator[None]:
    """Python writes the number of every signal into a pipe at once, whatever the main thread does;
    a thread reads it."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    done = threading.Event()
    listener = threading.Thread(
        target=_listen, args=(stop, reading, done, ends_process), name="signals", daemon=True
    )
    listener.start()
    try:
        yield
    finally:
        done.set()
        signal.set_wakeup_fd(before)
        os.close(writing)  # the end of the file, for who reads
        listener.join()
        os.close(reading)


def _listen(stop: Stop, reading: int, done: threading.Event, ends_process: bool) -> None:
    """Watches over one command until it is done."""
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
    """The number of the next signal that ends a command, or None at the end."""
    while content := os.read(reading, 1):
        if content[0] in SIGNALS:
            return content[0]
    return None


def _be_patient(stop: Stop, first: int, again, done, ends_process: bool) -> None:
    """After the first signal: a notice, and in the end, if need be, the end of the process."""
    limits = [(NOTICE_SECONDS, _notice), (LIMIT_SECONDS - NOTICE_SECONDS, None)]
    for seconds, say in limits:
        if _either(again, done, seconds):
            break
        if say is not None:
            say(stop, first, ends_process)
    if done.is_set() or not ends_process:
        return
    if again.is_set() and done.wait(AT_ONCE_SECONDS):
        return
    _end(stop, first)


def _either(one: threading.Event, other: threading.Event, seconds: float) -> bool:
    """Waits for one of two events; False when the seconds are over."""
    step = 0.05
    for _ in range(max(1, round(seconds / step))):
        if one.is_set() or other.wait(step):
            return True
    return False


def _notice(stop: Stop, first: int, ends_process: bool) -> None:
    more = "; a second Ctrl-C stops at once" if ends_process else ""
    stop.notify(f"{signal.Signals(first).name}: stopping after the work at hand{more}")


def _end(stop: Stop, first: int) -> None:
    """Ends the process, whatever the main thread does."""
    stop.number = stop.number or first

    def say():
        with contextlib.suppress(Exception):
            stop.close()
        with contextlib.suppress(Exception):
            stop.tell(stop.sentence())

    saying = threading.Thread(target=say, daemon=True)  # the terminal may not take it
    saying.start()
    saying.join(1.0)
    os._exit(128 + stop.number)
