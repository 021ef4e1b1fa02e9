"""Results: one file for each benchmark, processor and jaxlib, with every sample.

    benchmarks/results/<processor>/jaxlib_<version>/<benchmark>.json

So results of another processor or jaxlib stay beside those that are measured here.
"""

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

RESULTS = pathlib.Path(__file__).parent / "results"
FORMAT = 2
Record = dict[str, Any]


def place(record: Record) -> pathlib.PurePath:
    """Folder and name of a record, relative to the folder of results."""
    version = re.sub(r"\W+", "_", str(record["environment"]["versions"]["jaxlib"]))
    folder = pathlib.PurePath(record["device"]["key"], f"jaxlib_{version}")
    return folder / f"{record['name']}.json"


def write(folder: pathlib.Path, record: Record) -> pathlib.Path:
    """Puts a record in its place, whole or not at all."""
    path = folder / place(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(record, indent=1) + "\n")
    unfinished.replace(path)
    return path


def write_other(name: str, surroundings: Record, content: Record) -> pathlib.Path:
    """Writes what is no row of the table, such as the figures of a plan, in the same place.

    `surroundings` is what `machine.surroundings` returned.
    """
    rest = {key: value for key, value in surroundings.items() if key != "device"}
    record = {"name": name, "device": surroundings["device"], "environment": rest, **content}
    return write(RESULTS, record)


def read(path: pathlib.Path) -> Iterator[Record]:
    """The records of a file or, in the order of their names, of a folder and all below it."""
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path] if path.exists() else []
    for file in files:
        record = json.loads(file.read_text())
        if isinstance(record, dict) and record.get("format") == FORMAT:
            yield record


def rates(side: dict[str, Any]) -> list[float]:
    """Units per second of each round."""
    return [side["count"] * side["calls"] / seconds for seconds in side["seconds"]]


def per_unit(side: dict[str, Any]) -> list[float]:
    """Seconds per unit of each round."""
    return [1 / rate for rate in rates(side)]


def measured(record: Record, role: str) -> dict[str, dict[str, Any]]:
    """The sides of a role that have samples, by name."""
    found = record["sides"].items()
    return {n: side for n, side in found if side["role"] == role and side.get("seconds")}
