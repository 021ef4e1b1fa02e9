"""Rows of an array on the host, wherever it is: in memory, or in the file that it maps.

Rows of a mapped array are read from its file, not through the mapping: a file that is cut short
while it is mapped ends the process with a signal, where a read that comes up short is an error with
a sentence.
"""

import os
from typing import Any

import numpy as np

from dgm_jax.core import DataError, require


class Rows:
    """The rows of one array [N, ...].

    Args:
        array: in memory, or a C-contiguous part of a `np.memmap`.
        name: of the array, for messages.

    Raises:
        DataError: the file of a mapped array cannot be opened.
    """

    def __init__(self, array: np.ndarray, name: str):
        self.shape = array.shape[1:]
        self.dtype = array.dtype
        self._name = name
        self._array = array
        self._descriptor: int | None = None
        root = _mapping(array)
        if root is None:
            return
        self._path = str(root.filename)
        self._offset = root.offset + _address(array) - _address(root)
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DataError(f"{name}: {self._path} cannot be read: {error.strerror}") from error
        self._state = self._now()
        end = self._offset + array.nbytes
        self._require(self._state[0] >= end, f"has {self._state[0]} bytes, {end} were expected")

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Read rows.

        Args:
            positions: integers [...] in 0..N-1.

        Returns:
            The rows, [..., *shape].

        Raises:
            DataError: the file has changed since the run began, or cannot be read.
        """
        if self._descriptor is None:
            return self._array[positions]
        out = np.empty((*positions.shape, *self.shape), self.dtype)
        flat = positions.reshape(-1)
        self._require(self._now() == self._state, "was changed")
        content = out.reshape(-1).view(np.uint8).data
        num_bytes = out.nbytes // len(flat)
        rows = [content[i : i + num_bytes] for i in range(0, out.nbytes, num_bytes)]
        before = None
        for i in np.argsort(flat, kind="stable").tolist():  # in the order of the file
            if before is not None and flat[before] == flat[i]:
                rows[i][:] = rows[before]
            else:
                self._read(rows[i], self._offset + int(flat[i]) * num_bytes)
            before = i
        return out

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _read(self, out: Any, offset: int) -> None:
        assert self._descriptor is not None
        done = 0
        while done < len(out):
            try:
                count = os.preadv(self._descriptor, [out[done:]], offset + done)
            except OSError as error:
                raise DataError(
                    f"{self._name}: {self._path} cannot be read any more: {error.strerror}"
                ) from error
            self._require(count > 0, f"was cut to {self._now()[0]} bytes")
            done += count

    def _now(self) -> tuple[int, int]:
        """Size of the file, and when it was written."""
        assert self._descriptor is not None
        status = os.fstat(self._descriptor)
        return status.st_size, status.st_mtime_ns

    def _require(self, condition: bool, what: str) -> None:
        require(
            condition,
            f"{self._name}: {self._path} {what} while the run reads it; put the file back as it was"
            " and resume, or begin anew with data that stay as they are",
            DataError,
        )


def _mapping(array: np.ndarray) -> np.memmap | None:
    """The mapping of a file of which an array is a contiguous part, if there is one."""
    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    if isinstance(root, np.memmap) and root.filename is not None and array.flags.c_contiguous:
        return root
    return None


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]
