"""Large arrays of a set in files that are mapped into memory, so that no set has to fit into it.

An uncompressed file is mapped as it is. What has to be unpacked, decoded or cut first is written
once into the cache folder (`$DGM_JAX_CACHE_DIR/data`), as npy files whose names say what the
contents depend on. The folder may be removed at any time between runs.
"""

import contextlib
import hashlib
import io
import math
import mmap
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import BinaryIO

import numpy as np

from dgm_jax._cache import cache_folder
from dgm_jax.core import DataError

MAPPED_BYTES = 2**28
"""Larger arrays stay in files."""
BLOCK_BYTES = 2**24
_FORMAT = 1  # of the contents: another number, and everything is made anew


def is_large(num_bytes: int) -> bool:
    """Whether an array of so many bytes stays in a file.

    Args:
        num_bytes: of the array.

    Returns:
        True or False.
    """
    return num_bytes > MAPPED_BYTES


def rows_at_once(row_shape: tuple[int, ...], itemsize: int = 1) -> int:
    """Return how many rows to work on at once.

    Args:
        row_shape: shape of a row.
        itemsize: bytes of a number.

    Returns:
        The rows of about 16 MiB, at least one.
    """
    return max(1, BLOCK_BYTES // max(1, math.prod(row_shape) * itemsize))


def blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Cut an array into blocks of about 16 MiB; pages of a mapped file are given back after each.

    Args:
        array: [N, ...].

    Yields:
        Parts [n, ...] of it.
    """
    size = rows_at_once(array.shape[1:], array.itemsize)
    for start in range(0, len(array), size):
        yield array[start : start + size]
        release(array)


def release(array: np.ndarray) -> None:
    """Give back the memory in which a mapped file's pages lie; does nothing to other arrays.

    Args:
        array: any part of a `np.memmap`; it is read again from the file when it is used.
    """
    base = _root(array).base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def _root(array: np.ndarray) -> np.ndarray:
    """The array of which another one is a view, at first or second hand."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def map_file(path: pathlib.Path, shape: tuple[int, ...], offset: int) -> np.ndarray:
    """Map bytes of a file.

    Args:
        path: the file.
        shape: of the array.
        offset: bytes before it.

    Returns:
        uint8 of that shape, read-only.

    Raises:
        DataError: the file cannot be mapped, or is too short.
    """
    try:
        return np.asarray(np.memmap(path, np.uint8, "r", offset, shape))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be mapped into memory: {error}") from error


def fingerprint(*paths: pathlib.Path) -> str:
    """Say which files these are, by name, size and time of the last change.

    Args:
        *paths: the files.

    Returns:
        A line for each.
    """
    lines = []
    for path in paths:
        status = os.stat(path)
        lines.append(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}")
    return "\n".join(lines)


class Cache:
    """Arrays that were made of a source, each in a file of the cache folder.

    Args:
        identity: all that the contents of the arrays depend on, as text.
    """

    def __init__(self, identity: str):
        self.identity = identity
        self._key = hashlib.sha256(f"{_FORMAT}\n{identity}".encode()).hexdigest()[:16]

    def extended(self, *more: object) -> "Cache":
        """Return the cache of what was made of these arrays.

        Args:
            *more: what that depends on beside the arrays.

        Returns:
            Another cache.
        """
        return Cache("\n".join([self.identity, *map(repr, more)]))

    def path(self, what: str) -> pathlib.Path:
        """Return the file of an array, which may not exist yet.

        Args:
            what: name of the array.

        Returns:
            The path.

        Raises:
            DataError: there is no place for a cache folder.
        """
        try:
            return cache_folder() / "data" / f"{what}-{self._key}.npy"
        except RuntimeError as error:
            raise DataError(f"no cache folder ({error}): set DGM_JAX_CACHE_DIR") from error

    def get(self, what: str) -> np.ndarray | None:
        """Map an array that was written before.

        Args:
            what: name of the array.

        Returns:
            The array, or None if there is none, or not a whole one.
        """
        try:
            found = np.load(self.path(what), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            return None
        return np.asarray(found)

    def array(
        self,
        what: str,
        row_shape: tuple[int, ...],
        dtype: np.dtype | type,
        make: Callable[[], Iterable[np.ndarray]],
    ) -> np.ndarray:
        """Map an array, after writing it if it is not there.

        Args:
            what: name of the array.
            row_shape: shape of a row.
            dtype: of its numbers.
            make: returns its blocks [n, *row_shape].

        Returns:
            The array [N, *row_shape], read-only.

        Raises:
            DataError: it cannot be written, or whatever `make` raises.
        """
        found = self.get(what)
        if found is not None:
            return found
        target = self.path(what)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _moved_into_place(target) as stream:
                self._write(stream, row_shape, np.dtype(dtype), make())
        except OSError as error:
            raise DataError(
                f"{target}: cannot be written ({error.strerror or error}); large sets are unpacked"
                " there once: make room, or name another folder by DGM_JAX_CACHE_DIR"
            ) from error
        written = self.get(what)
        if written is None:
            raise DataError(f"{target}: cannot be read back")
        return written

    @staticmethod
    def _write(
        stream: BinaryIO, row_shape: tuple[int, ...], dtype: np.dtype, made: Iterable[np.ndarray]
    ) -> None:
        start = _header(0, row_shape, dtype)
        stream.write(start)
        num_rows = 0
        for block in made:
            stream.write(np.ascontiguousarray(block, dtype).reshape(-1).view(np.uint8).data)
            num_rows += len(block)
        end = _header(num_rows, row_shape, dtype)
        assert len(end) == len(start)  # NumPy leaves room for a growing first axis
        stream.seek(0)
        stream.write(end)


def cache_of(arrays: Mapping[str, np.ndarray | None]) -> Cache | None:
    """Return the cache of what is made of some arrays.

    Args:
        arrays: by name; None for what is missing.

    Returns:
        The cache; None if none of the arrays is mapped, since nothing made of them is large then.
    """
    given = {name: np.asarray(array) for name, array in arrays.items() if array is not None}
    if not any(isinstance(_root(array), np.memmap) for array in given.values()):
        return None
    lines = []
    for name, array in given.items():
        root = _root(array)
        lines.append(f"{name} {array.shape} {array.strides} {array.dtype}")
        if isinstance(root, np.memmap) and root.filename is not None:
            offset = array.ctypes.data - root.ctypes.data + root.offset
            lines.append(f"{fingerprint(pathlib.Path(root.filename))} {offset}")
        elif not is_large(array.nbytes) and not array.dtype.hasobject:
            lines.append(hashlib.sha256(array.tobytes()).hexdigest())
    return Cache("\n".join(lines))


def _header(num_rows: int, row_shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    """The beginning of an npy file."""
    described = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (num_rows, *row_shape),
    }
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue()


@contextlib.contextmanager
def _moved_into_place(target: pathlib.Path) -> Iterator[BinaryIO]:
    """A file that gets its name when it is whole, and is removed if it never is."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
