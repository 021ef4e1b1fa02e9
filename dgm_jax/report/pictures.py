"""Pictures of a run folder as they go into the report: checked, few enough, small enough."""

import base64
import io
import math
import pathlib
import re

import numpy as np
from PIL import Image

from dgm_jax.store import records
from dgm_jax.store.reading import FIGURES, read_captions

_ALL_BYTES = 2_200_000  # a third more as base64; the curves and the tables share the rest of 5 MB
_MAX_SNAPSHOTS = 6


def data_address(content: bytes) -> str:
    """A PNG picture as an address that holds it, so that nothing has to be fetched."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def figure_address(figure) -> str:
    """A matplotlib figure as such an address, in 64 colours, which lines and text can do with."""
    figure.canvas.draw()
    pixels, small = np.asarray(figure.canvas.buffer_rgba())[..., :3], io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).quantize(64).save(small, "PNG")
    return data_address(small.getvalue())


def pictures(root: pathlib.Path) -> list[dict]:
    """[{"name", "caption", "source" or "problem"}] of figures/*.png in the order in which they were
    first saved."""
    captions = read_captions(root)
    places = {name: place for place, name in enumerate(captions)}
    files = sorted(
        (root / FIGURES).glob("*.png"), key=lambda p: (places.get(p.stem, len(places)), p.name)
    )
    files = _without_crowds(files)
    left, rows = _ALL_BYTES, []
    for index, file in enumerate(files):
        row: dict[str, str] = {"name": file.stem, "caption": captions.get(file.stem, "")}
        try:
            content = _small_png(records.contained(root, file), left // (len(files) - index))
            left -= len(content)
            row["source"] = data_address(content)
        # what damaged pictures raise
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            row["problem"] = f"left out: {error}"
        rows.append(row)
    return rows


def _without_crowds(files: list[pathlib.Path]) -> list[pathlib.Path]:
    """Of pictures that differ in a step at the end of their names only (`NAME_00000500`) six at
    most, evenly chosen."""
    series: dict[str, list] = {}
    for file in files:
        series.setdefault(re.sub(r"_\d{6,}$", "", file.stem), []).append(file)
    kept = set()
    for members in series.values():
        count = min(len(members), _MAX_SNAPSHOTS)
        kept |= {members[round(i * (len(members) - 1) / max(1, count - 1))] for i in range(count)}
    return [file for file in files if file in kept]


def _small_png(file: pathlib.Path, budget: int) -> bytes:
    """A PNG file's bytes, made smaller until they fit the budget; `ValueError` where that is not
    possible."""
    if file.stat().st_size > 100_000_000:
        raise ValueError("the file is larger than 100 MB")
    content = file.read_bytes()
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError("the file is no PNG picture")
    if len(content) <= budget:
        return content
    with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
        if picture.width * picture.height > 100_000_000:
            raise ValueError(f"{picture.width} x {picture.height} pixels are too many")
        picture = picture.convert("RGB")
    for _ in range(6):
        factor = 0.9 * math.sqrt(budget / len(content))
        size = (max(1, int(picture.width * factor)), max(1, int(picture.height * factor)))
        picture, smaller = picture.resize(size, Image.Resampling.LANCZOS), io.BytesIO()
        picture.save(smaller, "PNG", optimize=True)
        content = smaller.getvalue()
        if len(content) <= budget:
            return content
    raise ValueError(f"it does not fit into {budget} bytes")
