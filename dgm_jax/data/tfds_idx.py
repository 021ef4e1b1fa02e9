"""Prepares Fashion-MNIST for tensorflow-datasets from its IDX files, without tensorflow or network.

    python -m dgm_jax.data.tfds_idx --source /usr/share/datasets/fashion-mnist --data_dir DIR

Afterwards `tfds.data_source("fashion_mnist", data_dir=DIR)` and `load("fashion_mnist",
data_dir=DIR)` read it. The class is that of tfds, with its name, version and features; only the
reading of the files is replaced, because tfds reads them through tensorflow. Pillow encodes the PNG
files.
"""

import argparse
import gzip
import hashlib
import pathlib
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dgm_jax.core import DataError, DgmError, require
from dgm_jax.data.idx import read_idx_folder
from dgm_jax.data.idx_names import FILES, idx_paths
from dgm_jax.data.packages import optional
from dgm_jax.data.paths import PathLike

# Modification times in the gzip headers of the published files; distributions strip them.
PUBLISHED_TIMES = {"train": 1504176606, "t10k": 1504176627}


def builder_class(source: PathLike) -> type[Any]:
    """Make a subclass of tfds's FashionMNIST that reads IDX files.

    It is not registered, and stores its data as fashion_mnist.

    Args:
        source: folder of the four files.

    Returns:
        The builder's class.

    Raises:
        MissingPackage: if tensorflow-datasets or pillow cannot be imported.
    """
    mnist = optional("tensorflow_datasets.image_classification", "tensorflow-datasets")
    image_module = optional("PIL.Image", "pillow")

    # The type checker knows the base class and its keyword only if tfds is installed.
    class FashionMnist(  # pyright: ignore[reportGeneralTypeIssues]
        mnist.FashionMNIST,
        skip_registration=True,  # pyright: ignore[reportCallIssue]
    ):
        """Fashion-MNIST from local files."""

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            del dl_manager
            arrays = read_idx_folder(source)
            return {
                split: self._generate_examples(arrays[f"{split}_images"], arrays[f"{split}_labels"])
                for split in ("train", "test")
            }

        def _generate_examples(
            self, images: np.ndarray, labels: np.ndarray
        ) -> Iterator[tuple[int, dict[str, Any]]]:
            for index, (image, label) in enumerate(zip(images, labels, strict=True)):
                yield index, {"image": image_module.fromarray(image[..., 0]), "label": int(label)}

    return FashionMnist


def verify(source: PathLike) -> dict[str, bool]:
    """Check whether IDX files are the published ones, by the SHA-256 that tfds has on record.

    A gzip header holds a name and a time, which distributions strip; they are restored before
    hashing, so a file passes if its compressed contents are those that were published.

    Args:
        source: folder of the four files.

    Returns:
        {file name: whether it is the published file}.

    Raises:
        MissingPackage: if tensorflow-datasets cannot be imported.
    """
    mnist = optional("tensorflow_datasets.image_classification", "tensorflow-datasets")
    recorded = {info.filename: info.checksum for info in mnist.FashionMNIST.url_infos.values()}
    verified = {}
    for key, path in idx_paths(source).items():
        published = recorded.get(f"{FILES[key]}.gz")
        data = path.read_bytes()
        candidates = (data, _with_published_header(data, FILES[key]))
        verified[path.name] = any(
            hashlib.sha256(candidate).hexdigest() == published for candidate in candidates
        )
    return verified


def prepare(source: PathLike, data_dir: PathLike) -> pathlib.Path:
    """Write the set in the array_record format.

    Args:
        source: folder of the four IDX files.
        data_dir: data folder of tfds.

    Returns:
        The folder written, `data_dir/fashion_mnist/VERSION`.

    Raises:
        DataError: if the files are missing or not Fashion-MNIST's.
        MissingPackage: if tensorflow-datasets or pillow cannot be imported.
    """
    require(pathlib.Path(source).is_dir(), f"{source}: no such folder", DataError)
    images = read_idx_folder(source)["train_images"]
    require(
        images.shape[1:] == (28, 28, 1),
        f"{source}: Fashion-MNIST images are 28x28, got {images.shape}",
        DataError,
    )
    builder = builder_class(source)(data_dir=str(data_dir), file_format="array_record")
    builder.download_and_prepare()
    return pathlib.Path(builder.data_path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: command-line arguments; by default those of the process.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="python -m dgm_jax.data.tfds_idx", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--source", required=True, help="folder with the four IDX files")
    parser.add_argument("--data_dir", required=True, help="tfds data folder to write to")
    parser.add_argument(
        "--require_verified", action="store_true", help="refuse files other than the published ones"
    )
    options = parser.parse_args(arguments)
    try:
        verified = verify(options.source)
        for name, is_published in verified.items():
            answer = "the published file (SHA-256)" if is_published else "NOT the published file"
            print(f"{name}: {answer}")
        require(
            all(verified.values()) or not options.require_verified,
            f"{options.source}: not all files are the published ones",
            DataError,
        )
        folder = prepare(options.source, options.data_dir)
    except DgmError as error:
        print(f"error: {error}")
        return error.exit_code
    print(f"prepared {folder}")
    return 0


def _with_published_header(data: bytes, name: str) -> bytes:
    """A gzip file with the header of the published one: its name and its time."""
    if data[:2] != b"\x1f\x8b" or len(data) < 10:
        return gzip.compress(data)
    time = struct.pack("<I", PUBLISHED_TIMES[name.split("-")[0]])
    header = b"\x1f\x8b\x08\x08" + time + b"\x00\x03" + name.encode() + b"\x00"
    return header + data[10:]


if __name__ == "__main__":
    raise SystemExit(main())
