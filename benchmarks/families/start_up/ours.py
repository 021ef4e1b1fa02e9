"""Processes that import, or start an experiment."""

import os
import pathlib
import subprocess
import sys
import tempfile

from benchmarks.contract import Case

_FLAGS = ("--log_every", "1", "--progress", "quiet")
_STARTER = "benchmarks.families.start_up.first_step"
_FOLDERS: list[tempfile.TemporaryDirectory] = []  # live as long as this process


def _process(arguments: list[str], **variables: str) -> None:
    environment = {**os.environ, **variables}
    command = [sys.executable, "-W", "ignore", *arguments]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def imports(modules: list[str]) -> Case:
    """A process that imports and ends."""
    return Case(lambda: _process(["-c", f"import {', '.join(modules)}"]), 1)


def start(experiment: str, warm: bool) -> Case:
    """An experiment with its default settings, from the command to the end of the first step;
    JAX's cache of compiled programs is empty, or that of the call before."""
    kept = tempfile.TemporaryDirectory()
    _FOLDERS.append(kept)

    def call():
        with tempfile.TemporaryDirectory() as folder:
            cache = kept.name if warm else str(pathlib.Path(folder, "cache"))
            out = ["--out", str(pathlib.Path(folder, "run"))]
            _process(
                ["-m", _STARTER, "run", experiment, *_FLAGS, *out],
                JAX_COMPILATION_CACHE_DIR=cache,
                JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
            )

    return Case(call, 1)
