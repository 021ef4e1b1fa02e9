"""The pictures of a run folder for the report: checked, and limited in number and size."""

import base64
import io
import math
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from dgm_jax.store import records
from dgm_jax.store.reading import FIGURES, read_captions

MAX_CHARACTERS = 800_000  # of all pictures, as data addresses
_SNAPSHOT_SHARE = 1 / 3  # at most, of the characters of all pictures
_MAX_SNAPSHOTS = 6  # of a series
_ALL_SNAPSHOTS = 12
_COLORS = (256, 64)  # the second only where a picture is too large with the first
_FINE_BYTES = 12_000  # a picture of no more is kept as it is, where it fits
_STEP = re.compile(r"_\d{6,}$")


def data_address(content: bytes) -> str:
    """A PNG picture as a data address, so that nothing has to be fetched.

    Args:
        content: the bytes of a PNG file.

    Returns:
        `data:image/png;base64,...`.
    """
    text = base64.b64encode(content).decode()
    return f"data:image/png;base64,{text}"


def png_of(figure: Any) -> bytes:
    """Renders a matplotlib figure at 130 dots an inch in 48 colors, enough for lines and text.

    Args:
        figure: a matplotlib figure with an Agg canvas.

    Returns:
        The bytes of a PNG file.
    """
    figure.set_dpi(130)
    figure.canvas.draw()
    rgba = np.asarray(figure.canvas.buffer_rgba())
    pixels = np.ascontiguousarray(rgba[..., :3])
    small = io.BytesIO()
    palette_picture = Image.fromarray(pixels).quantize(48, Image.Quantize.FASTOCTREE)
    palette_picture.save(small, "PNG", optimize=True)
    return small.getvalue()


def pictures(
    root: pathlib.Path, arms: Sequence[str] = (), max_characters: int = MAX_CHARACTERS
) -> dict[str, list[dict]]:
    """Reads figures/*.png of a run folder.

    Args:
        root: the folder.
        arms: the order of pictures whose captions begin with the name of an arm.
        max_characters: of all data addresses together; larger pictures get fewer colors, then
            fewer pixels.

    Returns:
        `{"final", "snapshots"}`, rows `{"name", "caption", "source" or "problem"}` each, in the
        order in which they were first saved. A snapshot has a step at the end of its name.
    """
    captions = read_captions(root)
    places = {name: place for place, name in enumerate(captions)}
    saved_place = lambda file: (places.get(file.stem, len(places)), file.name)
    final = []
    snapshots = []
    for file in sorted((root / FIGURES).glob("*.png"), key=saved_place):
        if _STEP.search(file.stem):
            snapshots.append(file)
        else:
            final.append(file)
    final.sort(key=lambda file: _arm_place(captions.get(file.stem, ""), arms))
    snapshots = _without_crowds(snapshots)
    max_bytes = max_characters * 3 // 4  # a data address is a third longer than its picture
    kept_back = int(max_bytes * _SNAPSHOT_SHARE) if snapshots else 0
    return {
        "final": _rows(root, final, captions, max_bytes - kept_back),
        "snapshots": _rows(root, snapshots, captions, kept_back),
    }


def series_of(snapshots: Sequence[dict]) -> list[dict]:
    """Groups snapshots that differ only in their step.

    Args:
        snapshots: rows of `pictures`.

    Returns:
        [{"name", "rows"}].
    """
    series: dict[str, list] = {}
    for row in snapshots:
        name = _STEP.sub("", row["name"])
        series.setdefault(name, []).append(row)
    return [{"name": name, "rows": rows} for name, rows in series.items()]


def _arm_place(caption: str, arms: Sequence[str]) -> int:
    """The place of the longest name of an arm that the caption begins with; -1 if none fits."""
    fitting = []
    for place, arm in enumerate(arms):
        if arm and caption.startswith(f"{arm}:"):
            fitting.append(place)
    return max(fitting, key=lambda place: len(arms[place]), default=-1)


def _rows(root, files: list[pathlib.Path], captions: dict, left: int) -> list[dict]:
    rows = []
    for index, file in enumerate(files):
        caption = captions.get(file.stem, "")
        row: dict[str, str] = {"name": file.stem, "caption": caption}
        share = left // (len(files) - index)
        try:
            content = _small_png(records.contained(root, file), share)
            left -= len(content)
            row["source"] = data_address(content)
        # what damaged pictures raise
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            row["problem"] = f"left out: {error}"
        rows.append(row)
    return rows


def _without_crowds(files: list[pathlib.Path]) -> list[pathlib.Path]:
    """Thins each series of pictures to two to six, evenly chosen; about twelve in all.

    The pictures of a series differ only in the step at the end of their names: `NAME_00000500`.
    """
    series: dict[str, list] = {}
    for file in files:
        name = _STEP.sub("", file.stem)
        series.setdefault(name, []).append(file)
    num_series = max(1, len(series))
    most = max(2, min(_MAX_SNAPSHOTS, _ALL_SNAPSHOTS // num_series))
    kept = set()
    for members in series.values():
        count = min(len(members), most)
        last = len(members) - 1
        num_gaps = max(1, count - 1)
        for i in range(count):
            place = round(i * last / num_gaps)
            kept.add(members[place])
    return [file for file in files if file in kept]


def _small_png(file: pathlib.Path, budget: int) -> bytes:
    """A PNG file's bytes, reduced until they fit the budget; `ValueError` if that is impossible."""
    if file.stat().st_size > 100_000_000:
        raise ValueError("the file is larger than 100 MB")
    content = file.read_bytes()
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError("the file is no PNG picture")
    if len(content) <= min(budget, _FINE_BYTES):
        return content
    with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
        num_pixels = picture.width * picture.height
        if num_pixels > 100_000_000:
            raise ValueError(f"{picture.width} x {picture.height} pixels are too many")
        picture = picture.convert("RGB")
    for colors in _COLORS:
        smaller = _few_colors(picture, colors)
        content = min(content, smaller, key=len)
        if len(content) <= budget:
            return content
    for _ in range(6):
        if len(content) <= budget:
            return content
        factor = 0.9 * math.sqrt(budget / len(content))
        width = max(1, int(picture.width * factor))
        height = max(1, int(picture.height * factor))
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        content = _few_colors(picture, _COLORS[-1])
    if len(content) <= budget:
        return content
    raise ValueError(f"it does not fit into {budget} bytes")


def _few_colors(picture: Image.Image, colors: int) -> bytes:
    """PNG in a palette of so many colors.

    Median cut takes seconds on noise, which has more colors than plots and photographs have, and
    is not worth it there.
    """
    small = io.BytesIO()
    method = Image.Quantize.FASTOCTREE
    if picture.getcolors(2**18):
        method = Image.Quantize.MEDIANCUT
    palette_picture = picture.quantize(colors, method)
    palette_picture.save(small, "PNG")
    return small.getvalue()
