"""A parent that watches one process of a run of several, and speaks where it cannot.

If another process of the run ends, JAX aborts this one, with a text for its own developers. So the
command starts itself once more, as a child that does the work, and says what has happened if the
child is ended from outside. Imports no JAX.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

from dgm_jax.run.launchers import NotConnected, Processes, asked
from dgm_jax.run.settings import LaunchConfig
from dgm_jax.terminal import console, signals

LOST = 7  # another process of the run has ended
MISTAKE = 2
_PIPE = "DGM_JAX_WATCHED"  # the end of a pipe that is closed when the parent ends
HOW_TO_GO_ON = (
    "what was saved is sound: continue with `dgm-jax resume FOLDER`, in as many processes as you"
    " like"
)


def watched(launch: LaunchConfig) -> int | None:
    """Run this command in a child, if it is one of several processes.

    Args:
        launch: how the run is launched.

    Returns:
        The exit code; None if the caller is to do the work itself: one process on its own, the
        child, or a command that is not all that its process does.
    """
    try:
        processes = asked(launch, os.environ)
    except NotConnected as error:
        console.tell(f"error: {error}")
        return MISTAKE
    if processes is None:
        return None
    pipe = os.environ.pop(_PIPE, None)
    if pipe is not None:
        threading.Thread(target=_end_with_parent, args=(int(pipe),), daemon=True).start()
        return None
    return _watch(processes) if signals.ends_process() else None


def _end_with_parent(pipe: int) -> None:
    os.read(pipe, 1)
    os._exit(LOST)


def _watch(processes: Processes) -> int:
    reading, writing = os.pipe()
    child = subprocess.Popen(
        [sys.executable, *sys.orig_argv[1:]],
        env={**os.environ, _PIPE: str(reading)},
        pass_fds=(reading,),
    )
    os.close(reading)
    with _passing_signals_to(child):
        code = child.wait()
    os.close(writing)
    if code >= 0:
        return code
    name = signal.Signals(-code).name
    if -code == signal.SIGABRT:
        console.tell(
            f"error: {processes} has ended because another process of the run has ended or cannot"
            f" be reached; {HOW_TO_GO_ON}"
        )
    else:
        console.tell(f"error: {processes} was ended by {name}; {HOW_TO_GO_ON}")
    return LOST


@contextlib.contextmanager
def _passing_signals_to(child: subprocess.Popen) -> Iterator[None]:
    """Let the child answer signals; Ctrl-C reaches it by the terminal."""
    before = signal.set_wakeup_fd(-1)
    handlers = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: child.terminate()),
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
