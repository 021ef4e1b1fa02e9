"""Images from an npz file: members are checked before they are unpacked, pickles are refused."""

import math
import pathlib
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import IO

import numpy as np

from dgm_jax.core import DataError, DgmError, require
from dgm_jax.data.idx import check_expansion
from dgm_jax.data.mapped import Cache, is_large, rows_at_once
from dgm_jax.data.named_arrays import choose
from dgm_jax.data.paths import PathLike, listed, regular_file

NUMBERS = "biufc"  # kinds of dtype that hold numbers
TEXT = "SU"
MAX_AXES = 32
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # of np.savez and np.savez_compressed
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(path: PathLike) -> tuple[dict[str, np.ndarray | None], tuple[str, ...]]:
    """Read images and labels from an npz file.

    Accepted names of arrays: image, x_train, train_images and the like (`named_arrays`).

    Args:
        path: the file.

    Returns:
        arrays: `{train_images, train_labels, test_images, test_labels}`; None for what is missing.
        notes: names of arrays that were not read.

    Raises:
        DataError: for a file that is not a zip of npy members, for arrays of anything but numbers,
            truncated or inflated members, headers of impossible shapes, names that are missing or
            given twice, and images or labels without the other.
    """
    file = pathlib.Path(path)
    num_bytes = regular_file(file).st_size
    try:
        require(zipfile.is_zipfile(file), f"{file}: not an npz file (a zip of arrays)", DataError)
        with zipfile.ZipFile(file) as archive:
            names = _names(archive, file)
            keys, notes = choose(names, str(file))
            arrays: dict[str, np.ndarray | None] = {}
            for key, name in keys.items():
                arrays[key] = _member(archive, name, file, num_bytes) if name else None
    except DgmError:
        raise
    except Exception as error:  # whatever the parsers of zip and deflate raise
        raise DataError(f"{file}: cannot be read as npz: {error}") from error
    return arrays, notes


def _names(archive: zipfile.ZipFile, path: pathlib.Path) -> set[str]:
    counts = Counter(archive.namelist())
    twice = [name for name, count in counts.items() if count > 1]
    require(not twice, f"{path}: {listed(twice)} stands twice in the file", DataError)
    return {name.removesuffix(".npy") for name in counts if name.endswith(".npy")}


def _member(archive: zipfile.ZipFile, name: str, path: pathlib.Path, num_bytes: int) -> np.ndarray:
    """One array of the archive, read after a check of its header and sizes."""
    info = archive.getinfo(f"{name}.npy")
    what = f"{path}: array {name!r}"
    require(
        info.compress_type in _METHODS,
        f"{what}: packed by method {info.compress_type}; save with np.savez",
        DataError,
    )
    packed_bytes = min(info.compress_size, num_bytes)
    check_expansion(what, info.file_size, packed_bytes)
    with archive.open(info) as stream:
        shape, fortran, dtype, header_bytes = _header(stream, what)
        _check_dtype(dtype, shape, what)
        size = math.prod(shape) * dtype.itemsize
        body_bytes = info.file_size - header_bytes
        require(
            body_bytes == size,
            f"{what}: the header says {shape} {dtype}, {size} bytes; found {body_bytes}",
            DataError,
        )
        if is_large(size) and not fortran:
            return _large(stream, info, shape, dtype, what)
        body = stream.read(size)
    require(len(body) == size, f"{what}: truncated after {len(body)} of {size} bytes", DataError)
    values = np.frombuffer(body, dtype)
    if fortran:
        return values.reshape(shape[::-1]).T
    return values.reshape(shape)


def _large(
    stream: IO[bytes],
    info: zipfile.ZipInfo,
    shape: tuple[int, ...],
    dtype: np.dtype,
    what: str,
) -> np.ndarray:
    """A member that is unpacked once into a file, whose name goes by the checksum of the member."""
    row_shape = shape[1:]
    item = dtype.itemsize
    size = math.prod(shape) * item

    def unpacked() -> Iterator[np.ndarray]:
        count = 0
        row = math.prod(row_shape) * item
        block = rows_at_once(row_shape, item) * row
        while body := stream.read(block):
            count += len(body)
            require(
                len(body) % row == 0,
                f"{what}: truncated after {count} of {size} bytes",
                DataError,
            )
            values = np.frombuffer(body, dtype)
            yield values.reshape(-1, *row_shape)
        require(count == size, f"{what}: truncated after {count} of {size} bytes", DataError)

    described = f"npz {info.filename} {info.file_size} {info.CRC:08x} {shape} {dtype.str}"
    cache = Cache(described)
    return cache.array("npz", row_shape, dtype, unpacked)


def _check_dtype(dtype: np.dtype, shape: tuple[int, ...], what: str) -> None:
    require(
        not dtype.hasobject,
        f"{what} is an object array (shape {shape}), which only pickle can read and "
        "pickle is never read; fix: np.stack images of one size into a uint8 array",
        DataError,
    )
    hint = ""
    if dtype.kind in TEXT:
        hint = "; fix for labels: labels = np.unique(labels, return_inverse=True)[1]"
    require(
        dtype.kind in NUMBERS and dtype.itemsize > 0,
        f"{what} has dtype {dtype}, expected numbers{hint}",
        DataError,
    )


def _header(stream: IO[bytes], what: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, whether in Fortran's order, dtype and number of bytes of a member's header."""
    try:
        version = np.lib.format.read_magic(stream)
        require(
            version in _READERS,
            f"{what}: npy format {version} is not read; save with np.savez",
            DataError,
        )
        shape, fortran, dtype = _READERS[version](stream)
    except DgmError:
        raise
    except Exception as error:  # the header is Python source, and its parser raises many errors
        raise DataError(f"{what}: not in the npy format: {type(error).__name__} {error}") from error
    possible_sizes = all(type(size) is int and 0 <= size < 2**62 for size in shape)
    num_axes = len(shape)
    given = str(shape)[:80]
    require(
        possible_sizes and num_axes <= MAX_AXES,
        f"{what}: the header says an impossible shape of {num_axes} axes, {given}",
        DataError,
    )
    require(0 not in shape, f"{what}: an empty array of shape {shape}", DataError)
    return shape, fortran, dtype, stream.tell()
