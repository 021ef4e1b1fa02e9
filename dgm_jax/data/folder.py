"""Images from a folder of files, sorted by name; one subfolder a class, or all in one place."""

import pathlib

import numpy as np

from dgm_jax.core import ConfigError, DataError, require
from dgm_jax.data.packages import optional

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
# What pillow decodes within this process: for some other formats (EPS) it starts a program.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MAX_PIXELS = 2**26
MODES = {"1": 1, "L": 1, "P": 3, "RGB": 3, "YCbCr": 3, "CMYK": 3, "RGBA": 3, "LA": 1}
BAD_FILES = ("error", "skip")


def read_folder(
    path, *, image_size: int | None = None, channels: int | None = None, bad_files: str = "error"
) -> tuple[dict[str, np.ndarray | None], tuple[str, ...], tuple[str, ...]]:
    """Decodes `PATH/[train|test/][class/]*.png` and the like; returns (arrays, class names, notes).

    arrays: as `read_npz`; with `train` and `test` subfolders both, else test entries are None.
    image_size: resizes every image to this square (antialiased); needed where sizes differ.
    channels: 1 or 3; by default 3 if any image has colour.
    bad_files: "error" names the first file that cannot be used; "skip" leaves them out and counts
        them in the notes. Refused are truncated or foreign files, links that lead out of the
        folder, more than 2^26 pixels, 16-bit pixels, and transparent pixels (an alpha channel that
        is opaque everywhere is dropped).
    """
    root = pathlib.Path(path)
    require(root.is_dir(), f"{root}: no such folder", DataError)
    require(bad_files in BAD_FILES, f"bad_files is one of {BAD_FILES}, got {bad_files!r}")
    require(channels in (None, 1, 3), f"channels is 1, 3 or None, got {channels!r}")
    require(
        image_size is None or image_size >= 1, f"image_size must be positive, got {image_size!r}"
    )
    split = (root / "train").is_dir() and (root / "test").is_dir()
    bases = {"train": root / "train", "test": root / "test"} if split else {"train": root}
    files = {name: _list_files(base) for name, base in bases.items()}
    classes = sorted({kind for found in files.values() for kind, _ in found}) or ["all"]
    decoded, skipped = {}, 0
    for name, found in files.items():
        require(
            bool(found),
            f"{bases[name]}: no image files ({', '.join(SUFFIXES)}) in it or its subfolders",
            DataError,
        )
        decoded[name], bad = _decode_all(found, root.resolve(), image_size, bad_files)
        require(
            decoded[name], f"{bases[name]}: none of {len(found)} image files can be used", DataError
        )
        skipped += bad
    depth = channels or max(array.shape[-1] for rows in decoded.values() for _, _, array in rows)
    out: dict[str, np.ndarray | None] = {"test_images": None, "test_labels": None}
    for name, rows in decoded.items():
        out[f"{name}_images"] = _stack(rows, depth)
        out[f"{name}_labels"] = np.array([classes.index(kind) for kind, _, _ in rows], np.int32)
    notes = ((f"resized to {image_size}x{image_size}",) if image_size else ()) + (
        (f"{skipped} unreadable files skipped",) if skipped else ()
    )
    return out, tuple(classes), notes


def _list_files(base: pathlib.Path) -> list[tuple[str, pathlib.Path]]:
    def images(folder):
        return sorted(
            p
            for p in folder.iterdir()
            if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")
        )

    subfolders = sorted(p for p in base.iterdir() if p.is_dir() and not p.name.startswith("."))
    classed = [(folder.name, p) for folder in subfolders for p in images(folder)]
    flat = [("all", p) for p in images(base)]
    if classed and flat:
        raise DataError(
            f"{base}: images both in class subfolders and beside them ({flat[0][1].name}); "
            "keep one arrangement"
        )
    return classed or flat


def _decode_all(found, root: pathlib.Path, image_size: int | None, bad_files: str):
    rows, bad = [], 0
    for kind, path in found:
        try:
            rows.append((kind, path, _decode(path, root, image_size)))
        except DataError as error:
            if bad_files == "error":
                raise DataError(
                    f"{error}; remove the file, or give the option bad_files='skip'"
                    f" (in a name: folder:{root}?bad_files=skip)"
                ) from error
            bad += 1
    return rows, bad


def _decode(path: pathlib.Path, root: pathlib.Path, image_size: int | None) -> np.ndarray:
    """uint8 [H, W, 1 or 3] of one file, or a `DataError` that names it."""
    image_module = optional("PIL.Image", "pillow")
    require(
        path.resolve().is_relative_to(root),
        f"{path}: a link that leads out of the folder",
        DataError,
    )
    try:
        with image_module.open(path, formats=FORMATS) as image:
            width, height = image.size
            pixels = width * height
            require(
                pixels <= MAX_PIXELS,
                f"{path}: {width} x {height} pixels, more than {MAX_PIXELS}",
                DataError,
            )
            require(
                image.mode in MODES,
                f"{path}: pixel mode {image.mode!r} is not 8-bit grey or colour",
                DataError,
            )
            image.load()
            image = _opaque(image, path)
            image = image.convert("L" if MODES[image.mode] == 1 else "RGB")
            if image_size:
                image = image.resize((image_size, image_size), image_module.Resampling.LANCZOS)
            values = np.asarray(image, np.uint8)
    except (DataError, ConfigError):
        raise
    except Exception as error:  # pillow's decoders raise whatever their format's parser raised
        raise DataError(
            f"{path}: not a readable image ({type(error).__name__}: {error})"
        ) from error
    return values[..., None] if values.ndim == 2 else values


def _opaque(image, path: pathlib.Path):
    if not image.has_transparency_data:
        return image
    rgba = image.convert("RGBA")
    require(
        rgba.getextrema()[3] == (255, 255),
        f"{path}: has transparent pixels; flatten it onto a background first",
        DataError,
    )
    return rgba.convert("L" if image.mode in ("L", "LA") else "RGB")


def _stack(rows, depth: int) -> np.ndarray:
    shapes = {}
    for _, path, array in rows:
        shapes.setdefault(array.shape[:2], path)
    if len(shapes) > 1:
        (first, a), (second, b) = list(shapes.items())[:2]
        raise DataError(
            f"images of mixed sizes: {a} is {first[0]}x{first[1]}, {b} is {second[0]}x{second[1]} "
            "(height x width); give the option image_size (in a name: folder:PATH?image_size=32)"
        )
    return np.stack([_with_channels(array, depth) for _, _, array in rows])


def _with_channels(array: np.ndarray, depth: int) -> np.ndarray:
    if array.shape[-1] == depth:
        return array
    if depth == 3:
        return np.repeat(array, 3, axis=-1)
    # ITU-R 601 luma, as pillow's own conversion to grey.
    return np.round(array @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[..., None]
