"""One run in several processes: how they connect, who speaks and writes, and how they part.

All processes do the same work on their parts of the arrays. Process 0 owns the run folder; the
others have a `store.witness.Witness` of it, and speak only of errors.
"""

import contextlib
import os
import pathlib
import sys
from collections.abc import Callable, Iterator

import jax

from dgm_jax.core import ConfigError, DgmError, RunDirectoryError
from dgm_jax.parallel import processes
from dgm_jax.run import launchers, watching
from dgm_jax.run.settings import LaunchConfig
from dgm_jax.store.directory import RunDirectory
from dgm_jax.store.witness import FACTS, Witness
from dgm_jax.terminal import console, signals
from dgm_jax.terminal.progress import Progress


def connect(launch: LaunchConfig) -> None:
    """Connect the processes of a run, if it has several.

    Args:
        launch: how it is launched.

    Raises:
        ConfigError: they cannot be connected.
    """
    try:
        asked = launchers.asked(launch, os.environ)
    except launchers.NotConnected as error:
        raise ConfigError(str(error)) from error
    if asked is not None and not jax.distributed.is_initialized():
        _keep_standard_output()
        processes.start(*asked)


def _keep_standard_output() -> None:
    """Leave standard output to Python: gloo prints a line there for each connection it makes."""
    if sys.stdout is None:
        return
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as null:
        sys.stdout.flush()
        number = sys.stdout.fileno()
        sys.stdout = os.fdopen(
            os.dup(number), "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors
        )
        os.dup2(null.fileno(), number)


def _answer_alike(stop: signals.Stop) -> None:
    """Let all processes stop where one of them has heard a signal; process 0 says so."""
    stop.agree = lambda number: processes.largest(number or 0) or None
    if not processes.is_first():
        stop.tell = lambda text: None
        stop.notify = lambda text: None


def progress_of(launch: LaunchConfig) -> Progress:
    """Make the display of this process, which shows nothing but in process 0.

    Args:
        launch: how the run is launched.

    Returns:
        The display.
    """
    if processes.is_first():
        return Progress(launch.progress)
    return Progress("quiet", open(os.devnull, "w"))


def opened(
    folder: pathlib.Path, experiment: str, settings: dict, create: Callable[[], RunDirectory]
) -> RunDirectory:
    """Open the run folder in process 0, and a `Witness` of it in the others.

    Args:
        folder: the run folder.
        experiment: name of the experiment.
        settings: as config.json has them.
        create: opens the folder.

    Returns:
        The folder.

    Raises:
        RunDirectoryError: it is refused; in every process.
    """
    created = []

    def facts() -> dict:
        created.append(create())
        return {name: getattr(created[0], name) for name in FACTS}

    told = processes.from_first(facts)
    return created[0] if created else Witness(folder, experiment, settings, told)


@contextlib.contextmanager
def running(stop: signals.Stop) -> Iterator[None]:
    """Stop where one of all processes has heard a signal, and end where another one has ended.

    Args:
        stop: the handler of this process.

    Yields:
        Nothing.
    """
    alone = stop.agree
    if processes.several():
        _answer_alike(stop)
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not processes.several():
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        console.tell(
            "error: this process has ended because another process of the run has ended or cannot"
            f" be reached ({reason}); {watching.HOW_TO_GO_ON}"
        )
        leave(watching.LOST)
    finally:
        stop.agree = alone


def failed(sentence: str, error: Exception) -> int:
    """Say why the run has failed; a process of several ends with it.

    Args:
        sentence: the reason.
        error: what was raised; an `ElsewhereError` is told by the process it comes from.

    Returns:
        The exit code.
    """
    if not isinstance(error, processes.ElsewhereError):
        console.tell(sentence)
    code = error.exit_code if isinstance(error, DgmError) else RunDirectoryError.exit_code
    leave(code)
    return code


def leave(code: int) -> None:
    """End this process without a word to the others, if there are others.

    Args:
        code: the exit code.
    """
    if processes.several():
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        os._exit(code)
