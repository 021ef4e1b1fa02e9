"""Prepares Fashion-MNIST for tensorflow-datasets from its four IDX files, without tensorflow or
network.

    python -m dgm_jax.data.tfds_idx --source /usr/share/datasets/fashion-mnist --data_dir DIR

Afterwards `tfds.data_source("fashion_mnist", data_dir=DIR)` and
`load("fashion_mnist", data_dir=DIR)` read it. The class is tfds's own, with its name, version and
features; only the reading of the files is replaced, because tfds reads them through tensorflow. PNG
encoding goes through pillow.
"""

import argparse
import gzip
import hashlib
import pathlib
import struct

from dgm_jax.core import DataError, DgmError, require
from dgm_jax.data.idx import read_idx_folder
from dgm_jax.data.idx_names import FILES, idx_paths
from dgm_jax.data.packages import optional

# Modification times in the gzip headers of the published files; distributions strip them.
PUBLISHED_TIMES = {"train": 1504176606, "t10k": 1504176627}


def builder_class(source):
    """tfds's FashionMNIST, reading the IDX files of `source`; not registered, stored as
    fashion_mnist."""
    mnist = optional("tensorflow_datasets.image_classification", "tensorflow-datasets")
    image_module = optional("PIL.Image", "pillow")

    # The base class is known when tfds is there, and its keyword with it.
    class FashionMnist(  # pyright: ignore[reportGeneralTypeIssues]
        mnist.FashionMNIST,
        skip_registration=True,  # pyright: ignore[reportCallIssue]
    ):
        """Fashion-MNIST from local files."""

        def _split_generators(self, dl_manager):
            del dl_manager
            arrays = read_idx_folder(source)
            return {
                split: self._generate_examples(arrays[f"{split}_images"], arrays[f"{split}_labels"])
                for split in ("train", "test")
            }

        def _generate_examples(self, images, labels):
            for index, (image, label) in enumerate(zip(images, labels, strict=True)):
                yield index, {"image": image_module.fromarray(image[..., 0]), "label": int(label)}

    return FashionMnist


def verify(source) -> dict[str, bool]:
    """For each of the four files whether it is the published one, by the SHA-256 that tfds has on
    record.

    A gzip header holds a name and a time, which distributions strip; they are put back before
    hashing, so a file passes if its compressed contents are those that were published.
    """
    mnist = optional("tensorflow_datasets.image_classification", "tensorflow-datasets")
    recorded = {info.filename: info.checksum for info in mnist.FashionMNIST.url_infos.values()}
    return {
        path.name: any(
            hashlib.sha256(data).hexdigest() == recorded.get(f"{FILES[key]}.gz")
            for data in (path.read_bytes(), _with_published_header(path.read_bytes(), FILES[key]))
        )
        for key, path in idx_paths(source).items()
    }


def prepare(source, data_dir) -> pathlib.Path:
    """Writes `data_dir/fashion_mnist/VERSION` in the array_record format; returns that folder."""
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


def main(arguments=None) -> int:
    """The command; returns its exit code."""
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
        for name, good in verified.items():
            print(f"{name}: {'the published file (SHA-256)' if good else 'NOT the published file'}")
        good = all(verified.values()) or not options.require_verified
        require(good, f"{options.source}: not all files are the published ones", DataError)
        folder = prepare(options.source, options.data_dir)
    except DgmError as error:
        print(f"error: {error}")
        return error.exit_code
    print(f"prepared {folder}")
    return 0


def _with_published_header(data: bytes, name: str) -> bytes:
    if data[:2] != b"\x1f\x8b" or len(data) < 10:
        return gzip.compress(data)
    time = PUBLISHED_TIMES[name.split("-")[0]]
    return (
        b"\x1f\x8b\x08\x08"
        + struct.pack("<I", time)
        + b"\x00\x03"
        + name.encode()
        + b"\x00"
        + data[10:]
    )


if __name__ == "__main__":
    raise SystemExit(main())
