"""Images from a folder of files, in the order of names: one subfolder per class, or no classes."""

import contextlib
import itertools
import json
import pathlib
from collections import Counter
from collections.abc import Iterator

import numpy as np

from dgm_jax.core import DataError, checks, require
from dgm_jax.data.folder_layout import Files, find
from dgm_jax.data.idx import MAX_EXPANSION
from dgm_jax.data.mapped import Cache, fingerprint, is_large, rows_at_once
from dgm_jax.data.paths import PathLike, folder, regular_file
from dgm_jax.data.picture_file import REMARKS, Picture, decode

BAD_FILES = ("error", "skip")
MAX_SIDE = 2**13
MAX_BYTES = 2**34  # of all images of a set, as they are held
SMALL_SET_BYTES = 2**28  # decoded, whatever the files' own size

Row = tuple[str, pathlib.Path, np.ndarray]


class TooLarge(DataError):
    """A folder that is too large as a whole, so that skipping one file would not help."""


def read_folder(
    path: PathLike,
    *,
    image_size: int | None = None,
    channels: int | None = None,
    bad_files: str = "error",
) -> tuple[dict[str, np.ndarray | None], tuple[str, ...], tuple[str, ...]]:
    """Decode the images `PATH/[train|test/][class/]*.png` and the like.

    A folder named train or training, and one named test or testing, are the splits; a folder val,
    valid or validation is the test split if there is no test folder, and is otherwise not read.
    Everything below a class folder belongs to that class. Names are compared in composed Unicode
    form.

    Args:
        path: the folder.
        image_size: resizes every image to this square (antialiased); needed if sizes differ.
        channels: 1 or 3; by default 3 if any image is in color.
        bad_files: "error" names the first file that cannot be used; "skip" leaves such files out
            and counts them in the notes.

    Returns:
        arrays: as `read_npz`; without a test split its entries are None.
        class names: sorted.
        notes: what was done and what was left out: orientation, frames, profiles, empty and nested
            folders, other endings.

    Raises:
        ConfigError: for unknown options.
        DataError: for a folder that is ambiguous or too large; for a file that is truncated, of
            another format, not a regular file, outside of the folder, of more than 2^26 pixels,
            16-bit or transparent (an alpha channel that is opaque everywhere is dropped).
    """
    root = folder(path)
    _check_options(image_size, channels, bad_files)
    layout = find(root, skip_links=bad_files == "skip")
    all_files = list(itertools.chain.from_iterable(layout.splits.values()))
    classes = sorted({kind for kind, _ in all_files})
    paths = [path for _, path in all_files]
    budget = Budget(paths, image_size)
    cache = _cache_if_large(root, paths, image_size, (image_size, channels, bad_files))
    found = None if cache is None else _cached(cache)
    if found is not None:
        return found
    decoded = {}
    counts = Counter()
    for split, files in layout.splits.items():
        decoded[split] = _decode_all(
            files, root.resolve(), image_size, bad_files, budget, counts, keep=cache is None
        )
        message = f"{layout.bases[split]}: none of {len(files)} image files can be used"
        require(bool(decoded[split]), message, DataError)
    depth = channels or max(array.shape[-1] for rows in decoded.values() for _, _, array in rows)
    _require_one_size([row for rows in decoded.values() for row in rows])
    out: dict[str, np.ndarray | None] = {"test_images": None, "test_labels": None}
    for split, rows in decoded.items():
        counts.update(_recolored(rows, depth))
        out[f"{split}_labels"] = np.array([classes.index(kind) for kind, _, _ in rows], np.int32)
        if cache is None:
            images = _stack(rows, depth)
        else:
            images = _stack_in_file(cache, split, rows, depth, root.resolve(), image_size)
        out[f"{split}_images"] = images
    resized = (f"resized to {image_size}x{image_size}",) if image_size else ()
    notes = (*resized, *_counted(counts), *layout.notes)
    if cache is None:
        return out, tuple(classes), notes
    return _recorded(cache, out, tuple(classes), notes)


class Budget:
    """Refuses a set whose images are far larger than its files, or larger than any memory."""

    def __init__(self, paths: list[pathlib.Path], image_size: int | None) -> None:
        self.decoded = 0
        self.held = 0
        self.packed = 0
        if image_size:
            self._require_held(len(paths) * image_size**2)
        for path in paths:
            try:
                self.packed += regular_file(path).st_size
            except DataError:
                continue  # an error or a skipped file when it is decoded

    def spend(self, picture: Picture) -> None:
        """Count one more image.

        Args:
            picture: the decoded image.

        Raises:
            TooLarge: if it is one too many.
        """
        self.held += picture.values.size
        self.decoded += picture.pixels
        self._require_held(self.held)
        most = max(SMALL_SET_BYTES, MAX_EXPANSION * self.packed)
        if self.decoded > most:
            raise TooLarge(
                f"files of {self.packed} bytes together hold more than {most} pixels, more than"
                f" {MAX_EXPANSION} times as many; scale the images down first"
            )

    def _require_held(self, size: int) -> None:
        if size > MAX_BYTES:
            raise TooLarge(
                f"the images take more than {MAX_BYTES} bytes together; give a smaller image_size,"
                " or fewer of them"
            )


def _check_options(image_size: int | None, channels: int | None, bad_files: str) -> None:
    require(bad_files in BAD_FILES, f"bad_files is one of {BAD_FILES}, got {bad_files!r}")
    require(channels in (None, 1, 3), f"channels is 1, 3 or None, got {channels!r}")
    check_image_size(image_size)


def check_image_size(image_size: int | None) -> None:
    """Check the side of resized images.

    Args:
        image_size: None, or an integer from 1 to 8192.

    Raises:
        ConfigError: for anything else.
    """
    if image_size is None:
        return
    checks.whole(image_size, "image_size")
    require(image_size <= MAX_SIDE, f"image_size must be at most {MAX_SIDE}, got {image_size}")


def _decode_all(
    files: Files,
    root: pathlib.Path,
    image_size: int | None,
    bad_files: str,
    budget: Budget,
    counts: Counter,
    *,
    keep: bool,
) -> list[Row]:
    """The images of one split, or only their shapes; what was done to them goes to `counts`."""
    rows = []
    for kind, path in files:
        try:
            picture = decode(path, root, image_size)
        except DataError as error:
            if bad_files == "error":
                raise DataError(
                    f"{error}; remove the file, or give the option bad_files='skip'"
                    f" (in a name: folder:{root}?bad_files=skip)"
                ) from error
            counts["skipped"] += 1
            continue
        budget.spend(picture)
        counts.update(picture.remarks)
        values = picture.values
        if not keep:
            values = np.broadcast_to(np.uint8(0), values.shape)  # takes no memory
        rows.append((kind, path, values))
    return rows


def _require_one_size(rows: list[Row]) -> None:
    shapes: dict[tuple[int, ...], pathlib.Path] = {}
    for _, path, array in rows:
        shapes.setdefault(array.shape[:2], path)
    if len(shapes) > 1:
        examples = [f"{path} is {h}x{w}" for (h, w), path in list(shapes.items())[:2]]
        raise DataError(
            f"images of mixed sizes: {', '.join(examples)} "
            "(height x width); give the option image_size (in a name: folder:PATH?image_size=32)"
        )


def _stack(rows: list[Row], depth: int) -> np.ndarray:
    """The images of `rows` as one array; empties `rows`, so that images are in memory once."""
    out = np.empty((len(rows), *rows[0][2].shape[:2], depth), np.uint8)
    for index in reversed(range(len(rows))):
        _, _, values = rows.pop()
        out[index] = _with_channels(values, depth)
    return out


def _cache_if_large(
    root: pathlib.Path, paths: list[pathlib.Path], image_size: int | None, options: tuple
) -> Cache | None:
    """Where the images are kept if they are large, taking the first one to be as large as all."""
    size = 0
    for path in paths:
        with contextlib.suppress(DataError):
            size = decode(path, root.resolve(), image_size).values.size
            break
    if not is_large(size * len(paths)):
        return None
    existing = [path for path in paths if path.exists()]
    return Cache(f"folder {root.resolve()} {options}\n{fingerprint(*existing)}")


def _stack_in_file(
    cache: Cache,
    split: str,
    rows: list[Row],
    depth: int,
    root: pathlib.Path,
    image_size: int | None,
) -> np.ndarray:
    """The images of `rows`, which have shapes only: decoded again, block by block, into a file."""
    shape = (*rows[0][2].shape[:2], depth)
    size = rows_at_once(shape)

    def decoded() -> Iterator[np.ndarray]:
        for start in range(0, len(rows), size):
            pictures = [decode(path, root, image_size) for _, path, _ in rows[start : start + size]]
            yield np.stack([_with_channels(picture.values, depth) for picture in pictures])

    return cache.array(f"folder_{split}_images", shape, np.uint8, decoded)


def _recorded(cache: Cache, out: dict, classes: tuple[str, ...], notes: tuple[str, ...]):
    """The same with labels and notes in files too, so that nothing is decoded again."""
    for name, array in out.items():
        if name.endswith("labels") and array is not None:
            out[name] = cache.array(f"folder_{name}", (), np.int32, lambda array=array: [array])
    names = [name for name, array in out.items() if array is not None]
    text = json.dumps([classes, notes, names])
    content = np.frombuffer(text.encode(), np.uint8)
    cache.array("folder_notes", (), np.uint8, lambda: [content])
    return out, classes, notes


def _cached(cache: Cache):
    """What `_recorded` returned for these files before; None if any of it is missing."""
    content = cache.get("folder_notes")
    if content is None:
        return None
    classes, notes, names = json.loads(content.tobytes())
    out: dict[str, np.ndarray | None] = {"test_images": None, "test_labels": None}
    out |= {name: cache.get(f"folder_{name}") for name in names}
    if any(out[name] is None for name in names):
        return None
    return out, tuple(classes), tuple(notes)


def _recolored(rows: list[Row], depth: int) -> Counter:
    """How many images change their number of channels to `depth`."""
    num_changed = sum(array.shape[-1] != depth for _, _, array in rows)
    return Counter({"to_color" if depth == 3 else "to_gray": num_changed})


def _counted(counts: Counter) -> tuple[str, ...]:
    """The counts as notes."""
    texts = REMARKS | {
        "to_color": "grey given three equal channels: {} images",
        "to_gray": "colour turned grey: {} images",
        "skipped": "{} unreadable files skipped",
    }
    return tuple(text.format(counts[key]) for key, text in texts.items() if counts[key])


def _with_channels(array: np.ndarray, depth: int) -> np.ndarray:
    if array.shape[-1] == depth:
        return array
    if depth == 3:
        return np.repeat(array, 3, axis=-1)
    # ITU-R 601 luma, as in pillow's own conversion.
    luma = array @ np.array([0.299, 0.587, 0.114])
    return np.round(luma).astype(np.uint8)[..., None]
