"""Image sets of tensorflow-datasets, read without tensorflow.

Only `data_source` over files in the array_record format works without tensorflow. (The parquet
format of tfds 4.9.10 loses rows, and tfrecord, the default, needs tensorflow; neither is accepted.)
Images are decoded once into one uint8 array, which for a large set is a file (`mapped`).
"""

import functools
import itertools
import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from dgm_jax.core import ConfigError, DataError, DgmError, did_you_mean, require
from dgm_jax.data.folder import check_image_size
from dgm_jax.data.mapped import Cache, is_large
from dgm_jax.data.packages import OFFLINE, optional
from dgm_jax.data.paths import PathLike
from dgm_jax.data.tfds_files import files_of, kept, require_one_size

DATA_VARIABLE = "DGM_JAX_DATA"
PREPARE = "python -m dgm_jax.data.tfds_idx --source FOLDER_OF_IDX_FILES --data_dir FOLDER"
_NAME = re.compile(r"[a-zA-Z]\w*(/[\w.-]+)?(:\d+\.\d+\.\d+)?")


class NotPrepared(DataError):
    """A set that tensorflow-datasets knows, but that is not prepared on this machine."""


def read_tfds(
    name: str,
    data_dir: PathLike | None = None,
    *,
    train_split: str = "train",
    test_split: str = "test",
    image_key: str = "image",
    label_key: str = "label",
    image_size: int | None = None,
    download: bool = False,
) -> tuple[dict[str, np.ndarray | None], tuple[str, ...] | None, tuple[str, ...], str]:
    """Read the tfds set `name[/config][:version]`.

    Args:
        name: the set.
        data_dir: folder in which it was prepared; by default the one named by DGM_JAX_DATA if it
            has the set, otherwise that of tfds.
        train_split: a split of tfds, which may be a slice such as "train[:90%]".
        test_split: the same for the test split.
        image_key: name of the feature that is the image.
        label_key: name of the feature that is the label.
        image_size: resizes to this square; needed if sizes differ.
        download: prepare the set first, as array_record; tfds's own preparation may need
            tensorflow.

    Returns:
        arrays: {train_images, train_labels, test_images, test_labels}.
        class names: in the order of labels, or None.
        notes: what was changed or left out.
        source: where the images come from, in words.

    Raises:
        ConfigError: for an unknown set or split, or a missing package.
        DataError: for a set that is not prepared, cannot be read, or does not consist of uint8
            images with one whole number each.
    """
    tfds = optional("tensorflow_datasets", "tensorflow-datasets")
    optional("array_record.python.array_record_data_source", "array_record")
    optional("PIL.Image", "pillow")
    require(
        bool(_NAME.fullmatch(name)),
        f"expected a tfds name such as cifar10 or emnist/letters, got {name!r}",
    )
    check_image_size(image_size)
    builder = _prepared_builder(tfds, name, data_dir, download)
    _check_features(builder, image_key, label_key)
    train = _read_split(builder, train_split, image_key, label_key, image_size)
    test = _read_split(builder, test_split, image_key, label_key, image_size)
    arrays: dict[str, np.ndarray | None] = {
        "train_images": train[0],
        "train_labels": train[1],
        "test_images": test[0],
        "test_labels": test[1],
    }
    names = getattr(builder.info.features[label_key], "names", None)
    class_names = tuple(names) if names else None
    notes = _notes(builder, train_split, test_split, image_size)
    source = f"tensorflow-datasets {builder.info.full_name} in {builder.data_path}"
    return arrays, class_names, notes, source


def is_prepared(name: str, data_dir: PathLike) -> bool:
    """Whether a folder holds files of a tfds set; needs no tfds.

    Args:
        name: the set, as `name[/config][:version]`.
        data_dir: data folder of tfds.

    Returns:
        True if there is a folder of that name.
    """
    # Unlike `Path.is_dir`, this returns False for a name that is too long.
    unversioned = name.split(":")[0]
    return os.path.isdir(os.path.join(data_dir, unversioned))


def _notes(
    builder: Any, train_split: str, test_split: str, image_size: int | None
) -> tuple[str, ...]:
    notes = []
    bases = {_base(train_split), _base(test_split)}
    unread = sorted(set(builder.info.splits) - bases)
    if unread:
        names = ", ".join(unread)
        notes.append(f"splits not read: {names}")
    num_shared = _in_both(builder, train_split, test_split)
    if num_shared:
        notes.append(f"{num_shared} examples are in both splits")
    if (train_split, test_split) != ("train", "test"):
        notes.append(f"splits {train_split} and {test_split}")
    if image_size:
        notes.append(f"resized to {image_size}x{image_size}")
    return tuple(notes)


def _prepared_builder(tfds: Any, name: str, data_dir: PathLike | None, download: bool) -> Any:
    """The builder of a set that is prepared, or is now if `download`."""
    root = os.environ.get(DATA_VARIABLE)
    if data_dir is None and root and is_prepared(name, root):
        data_dir = root
    file_format = "array_record" if download else None
    builder = _builder(tfds, name, data_dir, file_format)
    if not builder.is_prepared():
        require(
            download,
            f"tfds set {name!r} is not prepared in {builder.data_dir}. Prepare it as array_record:"
            f" give the option download=True (in a name: tfds:{name}?download=True; tfds's own"
            f" preparation may need tensorflow), or for Fashion-MNIST run {PREPARE}. What needs"
            f" none of this is {OFFLINE}",
            NotPrepared,
        )
        try:
            builder.download_and_prepare(file_format="array_record")
        except Exception as error:  # network, disk or tensorflow: any of them ends the preparation
            raise DataError(
                f"tfds could not prepare {name!r} ({type(error).__name__}: {str(error)[:300]});"
                " prepare it where tensorflow is installed, as array_record, and give its data_dir"
                " (or DGM_JAX_DATA)"
            ) from error
    return builder


def _builder(tfds: Any, name: str, data_dir: PathLike | None, file_format: str | None) -> Any:
    keywords = {"file_format": file_format} if file_format else {}
    folder = None if data_dir is None else str(data_dir)
    try:
        return tfds.builder(name, data_dir=folder, **keywords)
    except tfds.core.registered.DatasetNotFoundError as error:
        known = tfds.core.registered.list_imported_builders()
        set_name = name.split("/")[0]
        hint = did_you_mean(set_name, known)
        beside = "" if data_dir is None else f", and none is in {data_dir}"
        raise ConfigError(f"tensorflow-datasets knows no set {name!r}{hint}{beside}") from error
    except (ValueError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"tensorflow-datasets cannot open {name!r}: {reason}") from error


def _check_features(builder: Any, image_key: str, label_key: str) -> None:
    """Check that a set has one uint8 image and one whole number per example, as array_record."""
    info = builder.info
    names = sorted(info.features)
    listed = ", ".join(names)
    for key in (image_key, label_key):
        require(
            key in names,
            f"tfds set {info.full_name} has no feature {key!r}; it has "
            f"{listed}; name them with image_key= and label_key=",
            DataError,
        )
    label = info.features[label_key]
    image = info.features[image_key]
    is_number = label.shape == () and np.dtype(label.np_dtype).kind in "iu"
    require(
        is_number,
        f"tfds set {info.full_name}: {label_key} is {label.np_dtype} of shape"
        f" {label.shape}, expected one whole number; name another feature with label_key=",
        DataError,
    )
    num_axes = len(image.shape or ())
    is_image = num_axes == 3 and np.dtype(image.np_dtype) == np.uint8
    require(
        is_image,
        f"tfds set {info.full_name}: {image_key} is {image.np_dtype} of shape"
        f" {image.shape}, expected uint8 (H, W, C); name another feature with image_key=",
        DataError,
    )
    stored = info.file_format
    file_format = str(getattr(stored, "value", stored))
    require(
        file_format == "array_record",
        f"tfds set {info.full_name} in {builder.data_path} is stored as "
        f"{file_format}, which cannot be read without tensorflow; prepare it with "
        "file_format='array_record' in another data_dir",
        DataError,
    )


def _read_split(
    builder: Any, split: str, image_key: str, label_key: str, image_size: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one split."""
    base = _base(split)
    known = sorted(builder.info.splits)
    require(
        base in known,
        f"tfds set {builder.info.full_name} has no split {base!r}; it has {', '.join(known)}; "
        "choose with train_split= and test_split=, e.g. 'train[:90%]' and 'train[90%:]'",
    )
    try:
        require(builder.info.splits[split].num_examples > 0, f"tfds {split}: no examples in it")
        source = builder.as_data_source(split=split)
        first = np.asarray(source[0][image_key])
        first = _resized(first, image_size)
        records = functools.partial(_records, source, image_key, label_key, image_size)
        if is_large(first.nbytes * len(source)):
            what = (builder.info.full_name, split, image_key, label_key, image_size)
            cache = Cache(f"tfds {what}\n{files_of(builder, split)}")
            return kept(cache, first, records)
        labels, images = zip(*records(1024), strict=True)
    except DgmError:
        raise
    except Exception as error:  # the syntax of splits, or files that are damaged
        raise DataError(
            f"tfds set {builder.info.full_name} in {builder.data_path}: {split} cannot be read"
            f" ({type(error).__name__}: {str(error)[:300]})"
        ) from error
    images = list(itertools.chain.from_iterable(images))
    require_one_size(images, split)
    return np.stack(images), np.concatenate(labels)


def _records(
    source: Any, image_key: str, label_key: str, image_size: int | None, at_once: int
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Labels and images of some records at a time, by random access."""
    for start in range(0, len(source), at_once):
        stop = min(start + at_once, len(source))
        records = source.__getitems__(range(start, stop))
        labels = np.array([record[label_key] for record in records], np.int64)
        images = []
        for record in records:
            image = np.asarray(record[image_key])
            images.append(_resized(image, image_size))
        yield labels, images


def _in_both(builder: Any, train_split: str, test_split: str) -> int:
    """The number of examples that two splits, or parts of them, have in common."""
    ranges = {}
    for split in (train_split, test_split):
        for part in builder.info.splits[split].file_instructions:
            start = part.skip
            stop = part.examples_in_shard if part.take < 0 else start + part.take
            ranges.setdefault(split, []).append((str(part.filename), start, stop))
    num_shared = 0
    for file, start, stop in ranges[train_split]:
        for other, other_start, other_stop in ranges[test_split]:
            if file == other:
                overlap = min(stop, other_stop) - max(start, other_start)
                num_shared += max(0, overlap)
    return num_shared


def _base(split: str) -> str:
    """The split of which `train[:90%]` is a part."""
    return re.split(r"[\[+]", split)[0]


def _resized(image: np.ndarray, image_size: int | None) -> np.ndarray:
    size = (image_size, image_size)
    if image_size is None or image.shape[:2] == size:
        return image
    image_module = optional("PIL.Image", "pillow")
    is_gray = image.shape[-1] == 1
    if is_gray:
        image = image[..., 0]
    picture = image_module.fromarray(image)
    resized = picture.resize(size, image_module.Resampling.LANCZOS)
    values = np.asarray(resized)
    if is_gray:
        values = values[..., None]
    return values
