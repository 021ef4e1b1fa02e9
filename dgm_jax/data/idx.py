"""The IDX format of MNIST and Fashion-MNIST (LeCun, Cortes and Burges): plain or gzip-compressed.

A file is two zero bytes, a type byte (0x08: unsigned bytes, the only one accepted), the rank, the
dimensions as big-endian uint32, then the values.
"""

import gzip
import math
import pathlib
import struct
from collections.abc import Iterator
from typing import BinaryIO, cast

import numpy as np

from dgm_jax.core import DataError, DgmError, require
from dgm_jax.data.idx_names import FILES, IdxFiles, find
from dgm_jax.data.mapped import Cache, fingerprint, is_large, map_file, rows_at_once
from dgm_jax.data.paths import PathLike, regular_file

MAX_EXPANSION = 100
SMALL_BYTES = 2**26
GZIP = b"\x1f\x8b"


def check_expansion(what: str, num_bytes: int, packed_bytes: int) -> None:
    """Refuse contents that claim more than 100 times their packed size (above 64 MiB).

    Args:
        what: the file, or the part of it, for the message.
        num_bytes: claimed size after unpacking.
        packed_bytes: size on disk.

    Raises:
        DataError: if the claim is that large.
    """
    limit = max(SMALL_BYTES, MAX_EXPANSION * packed_bytes)
    require(
        num_bytes <= limit,
        f"{what}: {packed_bytes} bytes claim to unpack to {num_bytes}, more than {MAX_EXPANSION}"
        " times as many; it is not read",
        DataError,
    )


def read_idx(path: PathLike, rank: int) -> np.ndarray:
    """Read an IDX file.

    It is unpacked if its name ends in `.gz`, in any case of letters, or if it begins as gzip.

    Args:
        path: the file.
        rank: expected number of axes.

    Returns:
        uint8 array of that rank; one of more than `mapped.MAPPED_BYTES` stays in its file, or is
        unpacked once into another one (`mapped`).

    Raises:
        DataError: if the file cannot be read, or holds anything else; the message names it.
    """
    file = pathlib.Path(path)
    packed_bytes = regular_file(file).st_size
    try:
        with _open(file) as stream:
            header = stream.read(4 + 4 * rank)
            shape = _shape(header, rank, file)
            num_bytes = math.prod(shape)
            check_expansion(str(file), num_bytes, packed_bytes)
            if is_large(num_bytes):
                return _large(file, stream, shape)
            body = stream.read(num_bytes + 1)
    except DgmError:
        raise
    except Exception as error:  # whatever gzip and zlib raise
        raise DataError(f"{file}: cannot be read as an IDX file: {error}") from error
    _require_whole(len(body), shape, file)
    require(num_bytes > 0, f"{file}: an empty array of shape {shape}", DataError)
    return np.frombuffer(body, np.uint8).reshape(shape)


def _large(file: pathlib.Path, stream: BinaryIO, shape: tuple[int, ...]) -> np.ndarray:
    """An array that stays in a file; the stream stands at its first value."""
    num_bytes = math.prod(shape)
    start = 4 + 4 * len(shape)
    if not isinstance(stream, gzip.GzipFile):
        body_bytes = file.stat().st_size - start
        _require_whole(min(body_bytes, num_bytes + 1), shape, file)
        return map_file(file, shape, start)
    row_shape = shape[1:]

    def unpacked() -> Iterator[np.ndarray]:
        count = 0
        row = math.prod(row_shape)
        size = rows_at_once(row_shape) * row
        while body := stream.read(min(size, num_bytes + 1 - count)):
            count += len(body)
            if count <= num_bytes:
                values = np.frombuffer(body, np.uint8)
                whole = len(values) // row * row
                yield values[:whole].reshape(-1, *row_shape)
        _require_whole(count, shape, file)

    cache = Cache(fingerprint(file))
    return cache.array("idx", row_shape, np.uint8, unpacked)


def _require_whole(num_found: int, shape: tuple[int, ...], file: pathlib.Path) -> None:
    """Require as many bytes as a header says; one more stands for any number more."""
    num_bytes = math.prod(shape)
    got = f"{num_found}" if num_found <= num_bytes else f"more than {num_bytes}"
    require(
        num_found == num_bytes,
        f"{file}: the header says {shape}, {num_bytes} bytes; found {got}",
        DataError,
    )


def write_idx(path: PathLike, array: np.ndarray) -> None:
    """Write an IDX file, compressed if the name ends in `.gz`.

    Args:
        path: the file.
        array: uint8 values.

    Raises:
        DataError: for values that are not uint8.
    """
    file = pathlib.Path(path)
    array = np.asarray(array)
    require(array.dtype == np.uint8, f"IDX files hold uint8 here, got {array.dtype}", DataError)
    layout = f">BBBB{array.ndim}I"
    header = struct.pack(layout, 0, 0, 8, array.ndim, *array.shape)
    open_file = gzip.open if file.suffix == ".gz" else open
    with open_file(file, "wb") as stream:
        body = np.ascontiguousarray(array).tobytes()
        stream.write(header + body)


def read_idx_folder(folder: PathLike) -> dict[str, np.ndarray]:
    """Read the four files of a set under MNIST's names.

    Args:
        folder: the folder that holds them.

    Returns:
        As `read_idx_files`.

    Raises:
        DataError: for a file that is missing or cannot be read.
    """
    return read_idx_files(find(folder))


def read_idx_files(files: IdxFiles) -> dict[str, np.ndarray]:
    """Read the four files of a set.

    Args:
        files: their paths.

    Returns:
        `{train_images, train_labels, test_images, test_labels}`: images uint8[N, H, W, 1], labels
        int32[N].

    Raises:
        DataError: for a file that is missing or cannot be read.
    """
    missing = []
    for key, name in FILES.items():
        if key not in files.paths:
            missing.append(f"{files.prefix}{name}[.gz]")
    names = ", ".join(missing)
    require(not missing, f"{files.folder}: expected four IDX files, missing {names}", DataError)
    out = {}
    for key, path in files.paths.items():
        if key.endswith("images"):
            images = read_idx(path, 3)
            out[key] = images[..., None]
        else:
            labels = read_idx(path, 1)
            out[key] = labels.astype(np.int32)
    return out


def as_published(
    arrays: dict[str, np.ndarray], prefix: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Correct what differs in EMNIST's files from the images and labels as published.

    EMNIST (Cohen et al. 2017) stores images with rows and columns exchanged, and counts the labels
    of its letters from 1.

    Args:
        arrays: as `read_idx_files` returns them.
        prefix: what precedes "train" in the names of the files.

    Returns:
        The arrays, and notes of what was changed; other sets are returned unchanged.
    """
    prefix = prefix.lower()
    if not prefix.startswith("emnist"):
        return arrays, ()
    notes = ["EMNIST: rows and columns of images exchanged, so that they are upright"]
    arrays = dict(arrays)
    for key in ("train_images", "test_images"):
        images = arrays[key]
        arrays[key] = images.swapaxes(1, 2)
    keys = ("train_labels", "test_labels")
    if "letters" in prefix and all(arrays[key].min() >= 1 for key in keys):
        notes.append("EMNIST: labels of letters counted from 0")
        for key in keys:
            arrays[key] = arrays[key] - 1
    return arrays, tuple(notes)


def _open(path: pathlib.Path) -> BinaryIO:
    """The file's contents as a stream, unpacked if they are compressed."""
    with open(path, "rb") as stream:
        packed = path.suffix.lower() == ".gz" or stream.read(2) == GZIP
    if not packed:
        return open(path, "rb")
    return cast(BinaryIO, gzip.open(path, "rb"))


def _shape(header: bytes, rank: int, path: pathlib.Path) -> tuple[int, ...]:
    """The shape in a header, after a check of type and rank."""
    expected = f"expected an IDX file of rank {rank} of unsigned bytes"
    require(
        len(header) == 4 + 4 * rank,
        f"{path}: {expected}, got only {len(header)} bytes",
        DataError,
    )
    magic = header[:4]
    zero, kind, file_rank = struct.unpack(">HBB", magic)
    given = magic.hex(" ")
    require(
        zero == 0 and kind == 8 and file_rank == rank,
        f"{path}: {expected} (magic 0000 08 {rank:02x}), got {given}",
        DataError,
    )
    return struct.unpack(f">{rank}I", header[4:])
