"""Processes of sides, as the one that measures sees them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

# Several processes share an accelerator, of which JAX would else take three quarters at once.
_SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


class WorkerError(Exception):
    """A process refused a command or ended."""


class Worker:
    """A process that runs `benchmarks.worker`.

    Args:
        environment: variables on top of this process's own.
        verbose: whether what it prints is shown.
    """

    def __init__(
        self, environment: Mapping[str, str] | None = None, *, verbose: bool = False
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.worker"],
            env={**os.environ, **_SHARED, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if verbose else subprocess.DEVNULL,
            text=True,
        )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer.

        Raises:
            WorkerError: the command failed or the process ended.
        """
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        assert pipe_in is not None and pipe_out is not None
        try:
            pipe_in.write(json.dumps({"do": do, **arguments}) + "\n")
            pipe_in.flush()
            line = pipe_out.readline()
        except (BrokenPipeError, ValueError):  # ended, or closed here
            line = ""
        if not line:
            raise WorkerError(f"the process ended with {self._process.wait()} at {do!r}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()
