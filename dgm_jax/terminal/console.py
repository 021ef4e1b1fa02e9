"""The command line as it was typed, and output to a terminal, a pipe or a closed stream.

For `dgm-jax` and for experiments that are run as modules. The module imports no JAX, since
`dgm-jax list` needs none.
"""

import contextlib
import gc
import os
import pathlib
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from dgm_jax.terminal.signals import Interrupted, watch_signals

BROKEN_PIPE = 141  # 128 + SIGPIPE, what a shell reports of any program whose reader has gone
MISTAKE = 2  # what the caller can mend
_leaves_threads_behind = False


class Command(NamedTuple):
    """A command line in two parts.

    Attributes:
        program: the words up to the name of the experiment.
        flags: all words after it.
    """

    program: tuple[str, ...]
    flags: tuple[str, ...]

    def resuming(self, folder: str | os.PathLike[str]) -> str:
        """Return the command that continues the run of this one.

        Args:
            folder: the run folder.

        Returns:
            The command, quoted for a shell.
        """
        flags = [flag for flag in self.flags if flag not in ("--resume", "--no-resume")]
        while "--out" in flags:
            place = flags.index("--out")
            del flags[place : place + 2]
        flags = [flag for flag in flags if not flag.startswith("--out=")]
        return shlex.join([*self.program, *flags, "--out", str(folder), "--resume"])


def typed(words: Sequence[str], flags: Sequence[str]) -> Command:
    """Return the command that this process was started with.

    Args:
        words: the words between the program and the flags, such as `run gan_ring`.
        flags: all words after them.

    Returns:
        A command that a shell understands. Where the arguments are not those of the process
        (another program calls `dgm_jax.cli.main`), it starts with the installed program.
    """
    program = _program() if sys.argv[1:] == [*words, *flags] else ("dgm-jax",)
    return Command((*program, *words), tuple(flags))


def _program() -> tuple[str, ...]:
    """Return `dgm-jax`, or `python -m experiments.gan_ring`, as it was typed."""
    count = len(sys.orig_argv) - len(sys.argv[1:])
    words = tuple(sys.orig_argv[: max(0, count)])
    if not words or tuple(sys.orig_argv[count:]) != tuple(sys.argv[1:]):
        return (sys.argv[0],)
    script = pathlib.Path(words[-1])
    if "-m" in words[:-1] or script.suffix or not os.access(script, os.X_OK):
        return words
    # An installed program: the system has added the interpreter, and the shell the folder.
    path = shutil.which(script.name)
    on_path = path is not None and os.path.samefile(path, script)
    return (script.name if on_path else str(script),)


def guarded(work: Callable[[], int], ends_process: bool = False) -> int:
    """Run the work of a command and turn signals and refused output into exit codes.

    Everything that the work has printed is written out before this function returns.

    Args:
        work: the work, which returns an exit code.
        ends_process: whether the process ends with this work, see `signals.watch_signals`.

    Returns:
        130 after Ctrl-C and 143 after SIGTERM, with a sentence about what is saved; 141, without a
        message, if the reader of the output has closed it (`| head`), as for other programs; 2,
        with a message, if the system refuses the output or a file; otherwise the code of the work.
    """
    if ends_process:
        collect_seldom()
    code = _guarded(work, ends_process)
    if ends_process and _leaves_threads_behind:
        os._exit(code)  # everything is written out
    return code


def _guarded(work: Callable[[], int], ends_process: bool) -> int:
    """Do what `guarded` says, but for the end of the process."""
    with watch_signals(tell, ends_process) as stop:
        # A library may turn what was raised in the middle of its work into any error, and a command
        # such an error into the code of a mistake.
        try:
            code = _written_out(work)
            if code != MISTAKE or not stop.raised or stop.number is None:
                return code
            code = 128 + stop.number
        except Interrupted as interrupted:
            code = interrupted.exit_code
        except Exception:
            if not stop.raised or stop.number is None:
                raise
            code = 128 + stop.number
        with stop.hold():
            stop.tell(stop.sentence())
        return code


def _written_out(work: Callable[[], int]) -> int:
    """Run the work, then flush standard output; returns an exit code."""
    try:
        try:
            return work()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        return BROKEN_PIPE
    except OSError as error:
        tell(f"error: {error}")
        return MISTAKE
    finally:
        silence_what_is_broken()


def tell(text: str) -> None:
    """Print a sentence on standard error, or nothing if that is closed.

    Args:
        text: the sentence; `printable` is applied to it.
    """
    if sys.stderr is None:  # print would use standard output instead
        return
    with contextlib.suppress(OSError, ValueError):
        print(printable(text, keep_lines=True), file=sys.stderr, flush=True)


def printable(text: Any, keep_lines: bool = False) -> str:
    """Escape the control characters of a text, which a terminal would obey.

    Args:
        text: any object.
        keep_lines: whether ends of lines stay as they are.

    Returns:
        `str(text)`, with every character that cannot be printed as an escape sequence of Python's
        string literals.
    """
    kept = "\n" if keep_lines else ""
    return "".join(c if c.isprintable() or c in kept else ascii(c)[1:-1] for c in str(text))


def leave_threads_behind() -> None:
    """Make a process that runs one command end with it, without waiting for threads.

    Neither a thread that hangs nor what its library does at the exit can hold up the process then.
    """
    global _leaves_threads_behind
    _leaves_threads_behind = True


def collect_seldom() -> None:
    """Make Python look for cycles of garbage less often.

    By its own thresholds that takes a seventh of the time in which JAX traces and lowers, where
    hardly anything is garbage.
    """
    gc.set_threshold(50_000, 20, 20)


def silence_what_is_broken() -> None:
    """Send a standard stream that cannot be written to the null device.

    Otherwise Python, which flushes both streams when it ends, would report an error then and return
    exit code 120.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None where the process has none
        try:
            stream.flush()
        except ValueError:  # closed: there is nothing left to be written
            continue
        except OSError:
            with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as null:
                os.dup2(null.fileno(), stream.fileno())
                stream.flush()
