"""Runs in processes that cost no imports: this process has imported JAX, and forks before it uses a
device.

A child is a process of its own, with its own signals, its own JAX and its own files for standard
output and standard error; SIGKILL does to it what it does to any run.
"""

import os
import pathlib
import re
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from typing import NamedTuple

PATIENCE = 400.0  # seconds; a child that takes longer hangs
WATCHED = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "os.truncate"}


class Ended(NamedTuple):
    """How a child ended: exit code (minus the signal that ended it, None where it hung and was
    killed), what it printed, and the most memory that it held at once."""

    code: int | None
    out: str
    err: str
    peak_bytes: int

    def __str__(self):
        said = self.err.strip() or "nothing"
        return f"exit code {self.code}, standard error: {said[-3000:]}"


class Act(NamedTuple):
    """Signals that a child sends itself at a moment of its own.

    It is the `occurrence`-th time that an operation on a file below the run folder, written as
    "open /path" or "os.rename /from /to", matches `pattern`; before that operation is carried out.
    later: seconds after it. again: a second signal, so many seconds after the first.
    """

    number: int
    pattern: str
    occurrence: int = 1
    later: float = 0.0
    again: tuple[int, float] | None = None

    def __str__(self):
        then = f", then {signal.Signals(self.again[0]).name}" if self.again else ""
        after = f" {self.later:.3f} s after" if self.later else " at"
        name = signal.Signals(self.number).name
        return f"{name}{then}{after} operation {self.occurrence} of {self.pattern!r}"


class Child:
    """A forked process that calls `work() -> exit code`."""

    def __init__(self, work: Callable[[], int], below: pathlib.Path, act: Act | None = None):
        """below: the folder whose files `act` watches."""
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        sys.stdout.flush()
        sys.stderr.flush()
        ready, begun = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(ready)
            _be_the_child(work, below, act, (self._out.fileno(), self._err.fileno()), begun)
        os.close(begun)
        os.read(ready, 1)
        os.close(ready)
        self._handle, self._ended = os.pidfd_open(self.pid), None

    def wait(self, patience: float = PATIENCE) -> Ended:
        """Waits for the end; a child that has not ended by then is killed, its code is None."""
        if not self.has_ended(patience):
            self.send(signal.SIGKILL)
            return self._reap()._replace(code=None)
        return self._reap()

    def has_ended(self, within: float) -> bool:
        """Whether it ends within so many seconds."""
        return self._ended is not None or bool(select.select([self._handle], [], [], within)[0])

    def send(self, number: int) -> None:
        """A signal; to a child that has ended, none."""
        if not self.has_ended(0):
            signal.pidfd_send_signal(self._handle, number)

    def _reap(self) -> Ended:
        if self._ended is None:
            _, status, usage = os.wait4(self.pid, 0)
            os.close(self._handle)
            texts = [_content(file) for file in (self._out, self._err)]
            code = os.waitstatus_to_exitcode(status)
            self._ended = Ended(code, *texts, usage.ru_maxrss * 1024)
        return self._ended


def _content(file) -> str:
    file.seek(0)
    text = file.read().decode(errors="replace")
    file.close()
    return text


def _be_the_child(work, below, act, files, begun):
    code = 1
    try:
        os.setsid()  # a Ctrl-C at the terminal is for the harness
        for number, file in enumerate(files, 1):
            os.dup2(file, number)
        if act is not None:
            sys.addaudithook(_sender(act, str(below)))
        os.write(begun, b".")
        code = work() or 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:  # as Python does at the end of a program
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _sender(act: Act, below: str):
    """An audit hook, and a thread that sends what is to be sent later."""
    pattern, due, seen = re.compile(act.pattern), threading.Event(), 0

    def send():
        due.wait()
        time.sleep(act.later)
        os.kill(os.getpid(), act.number)
        if act.again is not None:
            time.sleep(act.again[1])
            os.kill(os.getpid(), act.again[0])

    if act.later or act.again:
        threading.Thread(target=send, daemon=True).start()

    def hook(event, arguments):
        nonlocal seen
        if due.is_set() or event not in WATCHED:
            return
        if not any(below in str(argument) for argument in arguments[:2]):
            return
        if pattern.search(operation(event, arguments)):
            seen += 1
            if seen == act.occurrence:
                due.set()
                if not act.later and not act.again:
                    os.kill(os.getpid(), act.number)

    return hook


def operation(event: str, arguments) -> str:
    """An operation on files as `Act.pattern` sees it."""
    count = 2 if event == "os.rename" else 1
    return " ".join([event, *map(str, arguments[:count])])
