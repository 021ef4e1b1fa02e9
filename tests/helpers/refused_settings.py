"""What the command line says to a wrong setting: in this process, as a whole."""

import contextlib
import io
import pathlib
import re
import traceback
from typing import NamedTuple

import jax
from hostile_settings import Mutation

from dgm_jax import cli

COMPILING = "/jax/core/compile/backend_compile_duration"
compilations = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: compilations.append(event) if event == COMPILING else None
)


class Verdict(NamedTuple):
    """What went wrong with the refusal of a mutation, or None; whether the sentence has the name of
    the setting; the sentence."""

    problem: str | None
    named: bool
    said: str


def tried(mutation: Mutation) -> Verdict:
    """Gives a command line; nothing must be compiled, and nothing written where it stands."""
    out, err, compiled = _text(), _text(), len(compilations)
    before = set(pathlib.Path().iterdir())
    code: object = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main(mutation.words)
        except SystemExit as stop:
            code = stop.code
        except BaseException:
            code = traceback.format_exc()
    said = _content(err)
    problem = None
    if code != 2:
        problem = f"expected exit code 2: {code}"
    elif "Traceback" in said or _content(out).strip():
        problem = "a traceback, or something on standard output"
    elif not said.strip():
        problem = "no word"
    elif len(compilations) > compiled:
        problem = "something was compiled"
    elif set(pathlib.Path().iterdir()) != before:
        problem = "something was written"
    return Verdict(problem, _names(said, mutation.setting), said)


def _names(said: str, setting: str) -> bool:
    """Whether a sentence has the name as a word: with - or _, on one line or broken."""
    words = re.split(r"[^A-Za-z0-9_]+", said.replace("--", " ").replace("-", "_"))
    return setting in words


def _text() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace")


def _content(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode()
