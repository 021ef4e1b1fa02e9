"""A command as it was typed, and output that nobody reads: for `dgm-jax` and for experiments that
are run as modules.

Needs no JAX, since `dgm-jax list` does not.
"""

import contextlib
import os
import pathlib
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dgm_jax.terminal.signals import Interrupted, watch_signals

BROKEN_PIPE = 141  # 128 + SIGPIPE, what a shell reports of any program whose reader has gone
CANNOT_WRITE = 2


class Command(NamedTuple):
    """A command line: `program` up to the experiment, then its `flags`."""

    program: tuple[str, ...]
    flags: tuple[str, ...]

    def resuming(self, folder) -> str:
        """The command that continues this one's run in `folder`, quoted for a shell."""
        flags = [flag for flag in self.flags if flag not in ("--resume", "--no-resume")]
        while "--out" in flags:
            place = flags.index("--out")
            del flags[place : place + 2]
        flags = [flag for flag in flags if not flag.startswith("--out=")]
        return shlex.join([*self.program, *flags, "--out", str(folder), "--resume"])


def typed(words: Sequence[str], flags: Sequence[str]) -> Command:
    """The command that this process was started with, if `words` and `flags` are its arguments.

    Args:
        words: what stands between the program and the flags, such as `run gan_ring`.
        flags: all that follows.

    Returns:
        A command that a shell understands. Where the arguments are not those of the process
        (another program calls `dgm_jax.cli.main`), that of the installed program.
    """
    program = _program() if sys.argv[1:] == [*words, *flags] else ("dgm-jax",)
    return Command((*program, *words), tuple(flags))


def _program() -> tuple[str, ...]:
    """`dgm-jax`, or `python -m experiments.gan_ring`, as it was typed."""
    count = len(sys.orig_argv) - len(sys.argv[1:])
    words = tuple(sys.orig_argv[: max(0, count)])
    if not words or tuple(sys.orig_argv[count:]) != tuple(sys.argv[1:]):
        return (sys.argv[0],)
    script = pathlib.Path(words[-1])
    if "-m" in words[:-1] or script.suffix or not os.access(script, os.X_OK):
        return words
    # An installed program: the system has put the interpreter before it, and the shell its folder.
    found = shutil.which(script.name)
    at_hand = found is not None and os.path.samefile(found, script)
    return (script.name if at_hand else str(script),)


def guarded(work: Callable[[], int], ends_process: bool = False) -> int:
    """`work()`, with what it printed written out before its exit code is returned.

    Args:
        work: returns an exit code.
        ends_process: whether the process is nothing but this, see `signals.watch_signals`.

    Returns:
        130 after Ctrl-C and 143 after SIGTERM, with a sentence on what is saved; 141 where the
        reader of the output has gone (`| head`), as other programs do and without a word; 2, with a
        sentence, where the system refuses the output or a file; else the code.
    """
    with watch_signals(tell, ends_process) as stop:
        try:
            return _written_out(work)
        except Interrupted as interrupted:
            code = interrupted.exit_code
        except Exception:
            # A library may make any error of what was raised in the midst of its work.
            if not stop.raised or stop.number is None:
                raise
            code = 128 + stop.number
        with stop.hold():
            tell(stop.sentence())
        return code


def _written_out(work: Callable[[], int]) -> int:
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
        return CANNOT_WRITE
    finally:
        silence_what_is_broken()


def tell(text: str) -> None:
    """A sentence on standard error, or nowhere if that is closed."""
    if sys.stderr is None:  # and print would take standard output
        return
    with contextlib.suppress(OSError, ValueError):
        print(printable(text), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """A text that a terminal shows and does not obey: what is no letter, sign, space or end of a
    line as Python writes it in quotes."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def silence_what_is_broken() -> None:
    """Sends a standard stream that cannot be written to the null device.

    Python writes out what is left at its end, and would complain then, with exit code 120.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None where the process has none
        try:
            stream.flush()
        except ValueError:  # closed: nothing is left to be written
            continue
        except OSError:
            with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as null:
                os.dup2(null.fileno(), stream.fileno())
                stream.flush()
