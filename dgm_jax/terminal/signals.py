"""Handling of Ctrl-C and SIGTERM: a command ends within seconds, its files intact, no traceback.

The first signal raises `Interrupted`, at once or, where work must not be interrupted (`held`), at
the next `check`. Python can raise nothing while compiled code runs, and compiling or a last
evaluation may take minutes. Therefore a thread listens as well (`terminal.listening`).
"""

import contextlib
import signal
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from dgm_jax.terminal.listening import SIGNALS, listening

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
        with listening(stop, ends_process):
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
