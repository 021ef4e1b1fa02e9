"""The IDX format of MNIST and Fashion-MNIST (LeCun, Cortes and Burges): plain or gzip-compressed.

A file is two zero bytes, a type byte (0x08: unsigned bytes, the only one accepted), the rank, the
dimensions as big-endian uint32, then the values.
"""

import gzip
import math
import pathlib
import struct

import numpy as np

from dgm_jax.core import DataError, DgmError, require
from dgm_jax.data.idx_names import FILES, IdxFiles, find
from dgm_jax.data.paths import regular_file

MAX_EXPANSION = 100
SMALL_BYTES = 2**26
GZIP = b"\x1f\x8b"


def check_expansion(what: str, num_bytes: int, packed_bytes: int) -> None:
    """Refuses contents that claim more than 100 times their packed size (above 64 MiB)."""
    require(
        num_bytes <= max(SMALL_BYTES, MAX_EXPANSION * packed_bytes),
        f"{what}: {packed_bytes} bytes claim to unpack to {num_bytes}, more than {MAX_EXPANSION}"
        " times as many; it is not read",
        DataError,
    )


def read_idx(path, rank: int) -> np.ndarray:
    """uint8 array of the given rank; `DataError` names the file for anything else in it.

    A file is unpacked if its name ends in `.gz`, in any case of letters, or if it begins as gzip.
    """
    path = pathlib.Path(path)
    packed_bytes = regular_file(path).st_size
    try:
        with _open(path) as stream:
            header = stream.read(4 + 4 * rank)
            shape = _shape(header, rank, path)
            count = math.prod(shape)
            check_expansion(str(path), count, packed_bytes)
            body = stream.read(count + 1)
    except DgmError:
        raise
    except Exception as error:  # whatever gzip and zlib raise
        raise DataError(f"{path}: cannot be read as an IDX file: {error}") from error
    found = f"{len(body)}" if len(body) <= count else f"more than {count}"
    require(
        len(body) == count,
        f"{path}: the header says {shape}, {count} bytes; found {found}",
        DataError,
    )
    require(count > 0, f"{path}: an empty array of shape {shape}", DataError)
    return np.frombuffer(body, np.uint8).reshape(shape)


def write_idx(path, array: np.ndarray) -> None:
    """Writes uint8 values in the IDX format, compressed if the name ends in `.gz`."""
    path, array = pathlib.Path(path), np.asarray(array)
    require(array.dtype == np.uint8, f"IDX files hold uint8 here, got {array.dtype}", DataError)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    with (gzip.open if path.suffix == ".gz" else open)(path, "wb") as stream:
        stream.write(header + np.ascontiguousarray(array).tobytes())


def read_idx_folder(folder) -> dict[str, np.ndarray]:
    """`{train_images [N, H, W, 1], train_labels [N], test_images, test_labels}` of a folder of four
    files under MNIST's names."""
    return read_idx_files(find(folder))


def read_idx_files(files: IdxFiles) -> dict[str, np.ndarray]:
    """The same of the four files found; `DataError` names those that are missing."""
    missing = [
        f"{files.prefix}{name}[.gz]" for key, name in FILES.items() if key not in files.paths
    ]
    require(
        not missing,
        f"{files.folder}: expected four IDX files, missing {', '.join(missing)}",
        DataError,
    )
    out = {}
    for key, path in files.paths.items():
        values = read_idx(path, 3 if key.endswith("images") else 1)
        out[key] = values[..., None] if key.endswith("images") else values.astype(np.int32)
    return out


def as_published(arrays: dict, prefix: str) -> tuple[dict, tuple[str, ...]]:
    """Arrays of the set `prefix` as people see them, and notes of what was mended.

    EMNIST (Cohen et al. 2017) stores images with rows and columns exchanged, and counts the labels
    of its letters from 1.
    """
    if not prefix.lower().startswith("emnist"):
        return arrays, ()
    notes = ["EMNIST: rows and columns of images exchanged, so that they are upright"]
    arrays = dict(arrays)
    for key in ("train_images", "test_images"):
        arrays[key] = arrays[key].swapaxes(1, 2)
    keys = ("train_labels", "test_labels")
    if "letters" in prefix.lower() and all(arrays[key].min() >= 1 for key in keys):
        notes.append("EMNIST: labels of letters counted from 0")
        arrays |= {key: arrays[key] - 1 for key in keys}
    return arrays, tuple(notes)


def _open(path: pathlib.Path):
    with open(path, "rb") as stream:
        packed = path.suffix.lower() == ".gz" or stream.read(2) == GZIP
    return gzip.open(path, "rb") if packed else open(path, "rb")


def _shape(header: bytes, rank: int, path: pathlib.Path) -> tuple[int, ...]:
    expected = f"expected an IDX file of rank {rank} of unsigned bytes"
    require(
        len(header) == 4 + 4 * rank, f"{path}: {expected}, got only {len(header)} bytes", DataError
    )
    zero, kind, found = struct.unpack(">HBB", header[:4])
    good = zero == 0 and kind == 8 and found == rank
    require(
        good, f"{path}: {expected} (magic 0000 08 {rank:02x}), got {header[:4].hex(' ')}", DataError
    )
    return struct.unpack(f">{rank}I", header[4:])
