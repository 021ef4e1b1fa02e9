"""Processes that import, or run one step."""

import os
import pathlib
import subprocess
import sys
import tempfile

from benchmarks.contract import Case

_FLAGS = ("--num_steps", "1", "--log_every", "1", "--num_seeds", "1", "--progress", "quiet")
_DATA = {"vqvae_images": ("--data", "digits")}
_FOLDERS: list[tempfile.TemporaryDirectory] = []  # live as long as this process


def _process(arguments: list[str], **variables: str) -> None:
    environment = {**os.environ, **variables}
    command = [sys.executable, "-W", "ignore", *arguments]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def imports(modules: list[str]) -> Case:
    """A process that imports and ends."""
    return Case(lambda: _process(["-c", f"import {', '.join(modules)}"]), 1)


def run(experiment: str, warm: bool) -> Case:
    """A run of one step with one seed, from the command to its report; JAX's cache of compiled
    programs is empty, or that of the call before."""
    kept = tempfile.TemporaryDirectory()
    _FOLDERS.append(kept)
    flags = [*_FLAGS, *_DATA.get(experiment, ())]

    def call():
        with tempfile.TemporaryDirectory() as folder:
            cache = kept.name if warm else str(pathlib.Path(folder, "cache"))
            out = ["--out", str(pathlib.Path(folder, "run"))]
            _process(
                ["-m", "dgm_jax", "run", experiment, *flags, *out],
                JAX_COMPILATION_CACHE_DIR=cache,
                JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
            )

    return Case(call, 1)
