"""The IDX format of MNIST and Fashion-MNIST (LeCun, Cortes and Burges): plain or gzip-compressed.

A file is two zero bytes, a type byte (0x08: unsigned bytes, the only one accepted), the rank, the
dimensions as big-endian uint32, then the values.
"""

import gzip
import math
import pathlib
import struct
import zlib

import numpy as np

from dgm_jax.core import DataError, require

FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
MAX_EXPANSION = 100
SMALL_BYTES = 2**26


def check_expansion(what: str, num_bytes: int, packed_bytes: int) -> None:
    """Refuses contents that claim more than 100 times their packed size (above 64 MiB)."""
    require(
        num_bytes <= max(SMALL_BYTES, MAX_EXPANSION * packed_bytes),
        f"{what}: {packed_bytes} bytes claim to unpack to {num_bytes}, more than {MAX_EXPANSION}"
        " times as many; it is not read",
        DataError,
    )


def read_idx(path, rank: int) -> np.ndarray:
    """uint8 array of the given rank; `DataError` names the file for anything else in it."""
    path = pathlib.Path(path)
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            header = stream.read(4 + 4 * rank)
            shape = _shape(header, rank, path)
            count = math.prod(shape)
            check_expansion(str(path), count, path.stat().st_size)
            body = stream.read(count + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as an IDX file: {error}") from error
    found = f"{len(body)}" if len(body) <= count else f"more than {count}"
    require(
        len(body) == count,
        f"{path}: the header says {shape}, {count} bytes; found {found}",
        DataError,
    )
    return np.frombuffer(body, np.uint8).reshape(shape)


def write_idx(path, array: np.ndarray) -> None:
    """Writes uint8 values in the IDX format, compressed if the name ends in `.gz`."""
    path, array = pathlib.Path(path), np.asarray(array)
    require(array.dtype == np.uint8, f"IDX files hold uint8 here, got {array.dtype}", DataError)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    with (gzip.open if path.suffix == ".gz" else open)(path, "wb") as stream:
        stream.write(header + np.ascontiguousarray(array).tobytes())


def idx_paths(folder) -> dict[str, pathlib.Path]:
    """Paths of those of the four files that are in `folder`, by the keys of `FILES`."""
    folder = pathlib.Path(folder)
    candidates = {key: (folder / f"{name}.gz", folder / name) for key, name in FILES.items()}
    return {
        key: next(p for p in paths if p.is_file())
        for key, paths in candidates.items()
        if any(p.is_file() for p in paths)
    }


def is_idx_folder(folder) -> bool:
    """Whether any of the four files is there (`read_idx_folder` then asks for all)."""
    return bool(idx_paths(folder))


def read_idx_folder(folder) -> dict[str, np.ndarray]:
    """`{train_images [N, H, W, 1], train_labels [N], test_images, test_labels}` of a folder of four
    files."""
    paths = idx_paths(folder)
    missing = [f"{name}[.gz]" for key, name in FILES.items() if key not in paths]
    require(
        not missing, f"{folder}: expected four IDX files, missing {', '.join(missing)}", DataError
    )
    out = {}
    for key, path in paths.items():
        values = read_idx(path, 3 if key.endswith("images") else 1)
        out[key] = values[..., None] if key.endswith("images") else values.astype(np.int32)
    return out


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
