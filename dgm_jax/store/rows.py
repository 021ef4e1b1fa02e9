"""metrics.jsonl: one row per logged step, appended, whole or not at all."""

import os
import pathlib
import threading
from collections.abc import Callable

from dgm_jax.core import json_values
from dgm_jax.store import records


class Rows:
    """The rows of one file. Every call closes over one lock, so threads may share it."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self._descriptor, self._writing = None, threading.RLock()

    def append(self, row: dict) -> None:
        """Adds a row and flushes it to the disk; arrays become lists, NaN and infinity null.

        Where the disk refuses (full, say) the part that was written is taken back before the error
        is raised.
        """
        line = json_values.dumps(row).encode() + b"\n"
        with self._writing:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            before = os.fstat(self._descriptor).st_size
            try:
                # a disk that is nearly full takes a part and refuses the rest in the next call
                while line:
                    line = line[os.write(self._descriptor, line) :]
                os.fsync(self._descriptor)
            except OSError as error:
                os.ftruncate(self._descriptor, before)
                self.close()
                raise OSError(error.errno, error.strerror, str(self.path)) from error

    def truncate(self, keep: Callable[[dict], bool]) -> int:
        """Keeps the rows for which `keep(row)` holds, byte for byte, and drops a torn last line;
        returns their number.

        Atomic.
        """
        with self._writing:
            self.close()
            if not self.path.exists():
                return 0
            content = self.path.read_bytes()
            lines = [line for line, row in records.split_rows(content, str(self.path)) if keep(row)]
            if b"".join(lines) != content:
                records.write_atomically(self.path, b"".join(lines))
            return len(lines)

    def close(self) -> None:
        """Closes the file; the next row opens it again."""
        with self._writing:
            if self._descriptor is not None:
                descriptor, self._descriptor = self._descriptor, None
                os.close(descriptor)
