"""Images from an npz file: zip members are checked before a byte is unpacked, and pickles never
are."""

import math
import pathlib
import zipfile
import zlib

import numpy as np

from dgm_jax.core import DataError, require
from dgm_jax.data.idx import check_expansion

TRAIN_IMAGES = ("image", "images", "x_train", "X_train", "train_images", "train_image", "x", "X")
TRAIN_LABELS = ("label", "labels", "y_train", "Y_train", "train_labels", "train_label", "y", "Y")
TEST_IMAGES = ("x_test", "X_test", "test_images", "test_image")
TEST_LABELS = ("y_test", "Y_test", "test_labels", "test_label")


def read_npz(path) -> dict[str, np.ndarray | None]:
    """`{train_images, train_labels, test_images, test_labels}`; what the file lacks is None.

    Accepted names of arrays: image, x_train, train_images and the like (the module's constants).
    Raises `DataError` for a file that is not a zip of npy members, for object arrays, truncated
    or inflated members, and for names that are missing or given twice.
    """
    path = pathlib.Path(path)
    require(path.is_file(), f"{path}: no such file", DataError)
    require(zipfile.is_zipfile(path), f"{path}: not an npz file (a zip of arrays)", DataError)
    try:
        with zipfile.ZipFile(path) as archive:
            names = {
                name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")
            }
            keys = {
                "train_images": _one(names, TRAIN_IMAGES, path),
                "train_labels": _one(names, TRAIN_LABELS, path),
                "test_images": _one(names, TEST_IMAGES, path),
                "test_labels": _one(names, TEST_LABELS, path),
            }
            require(
                keys["train_images"] is not None,
                f"{path}: no array named one of {', '.join(TRAIN_IMAGES)}; "
                f"found {', '.join(sorted(names)) or 'none'}",
                DataError,
            )
            return {
                key: _member(archive, name, path) if name else None for key, name in keys.items()
            }
    except (
        OSError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise DataError(f"{path}: cannot be read as npz: {error}") from error


def _one(names: set[str], accepted: tuple[str, ...], path: pathlib.Path) -> str | None:
    found = [name for name in accepted if name in names]
    require(
        len(found) <= 1,
        f"{path}: both {' and '.join(found)} are there; keep one of them",
        DataError,
    )
    return found[0] if found else None


def _member(archive: zipfile.ZipFile, name: str, path: pathlib.Path) -> np.ndarray:
    info = archive.getinfo(f"{name}.npy")
    what = f"{path}: array {name!r}"
    check_expansion(what, info.file_size, info.compress_size)
    with archive.open(info) as stream:
        shape, fortran, dtype, header_bytes = _header(stream, what)
        require(
            not dtype.hasobject,
            f"{what} is an object array (shape {shape}), which only pickle can read and "
            "pickle is never read; fix: np.stack images of one size into a uint8 array",
            DataError,
        )
        count = math.prod(shape) * dtype.itemsize
        require(
            header_bytes + count == info.file_size,
            f"{what}: the header says {shape} {dtype}, {count} bytes; "
            f"found {info.file_size - header_bytes}",
            DataError,
        )
        body = stream.read(count)
    require(len(body) == count, f"{what}: truncated after {len(body)} of {count} bytes", DataError)
    values = np.frombuffer(body, dtype)
    return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)


def _header(stream, what: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        version = np.lib.format.read_magic(stream)
        require(
            version in readers,
            f"{what}: npy format {version} is not read; save with np.savez",
            DataError,
        )
        shape, fortran, dtype = readers[version](stream)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{what}: not in the npy format: {error}") from error
    return shape, fortran, dtype, stream.tell()
