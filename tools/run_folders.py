"""What a run folder ends with, and how two of them differ: the comparing part of compare_runs."""

import itertools
import json
import math
import pathlib
from typing import Any, NamedTuple

MOST_SHOWN = 4  # metrics of one experiment that are printed


class NotComparable(Exception):
    """Why there is nothing to compare."""


class FinalArm(NamedTuple):
    """What one arm of a run folder ends with; last_row is {metric: [num_seeds]}."""

    sha256: str
    num_rows: int
    last_row: dict[str, list]
    failed_seeds: list[str]


class Difference(NamedTuple):
    """A figure that is not the same; relative to the larger modulus, infinite beside no number."""

    name: str
    old: Any
    new: Any
    relative: float


def read_run(folder: pathlib.Path) -> dict[str, FinalArm]:
    """{arm: what it ends with} of a finished run folder.

    Raises:
        NotComparable: there is no summary, it or the metrics cannot be read, or an arm lacks its
            hash or its rows.
    """
    if not (folder / "summary.json").is_file():
        raise NotComparable("the run folder has no summary.json")
    try:
        summary = json.loads((folder / "summary.json").read_text("utf-8"))
        rows = {name: [] for name in summary["arms"]}
        for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            figures = {k: v if isinstance(v, list) else [v] for k, v in row.items()}
            rows[row["arm"]].append(figures)
        failed = {name: [] for name in rows}
        for seed in summary["failed_seeds"]:
            failed[seed["arm"]].append(f"{seed['seed']} at step {seed['step']}")
        arms = {
            name: FinalArm(
                summary["final_params_sha256"][name], len(found), found[-1], failed[name]
            )
            for name, found in rows.items()
        }
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise NotComparable(
            f"the run folder cannot be read: {type(error).__name__}: {error}"
        ) from error
    if not arms:
        raise NotComparable("the run folder has no arms")
    return arms


def largest_difference(metric: str, old: list, new: list) -> Difference | None:
    """Of a metric's seeds the one that moved most; None where all are the same to the bit.

    NaN (null in metrics.jsonl) equals NaN, and -0.0 is not 0.0.
    """
    found = []
    for seed, (a, b) in enumerate(itertools.zip_longest(old, new, fillvalue="missing")):
        if repr(a) != repr(b):
            found.append(Difference(f"{metric}[{seed}]", a, b, _relative(a, b)))
    return max(found, key=lambda difference: difference.relative, default=None)


def _relative(a, b) -> float:
    if not (isinstance(a, int | float) and isinstance(b, int | float)):
        return math.inf
    relative = abs(b - a) / (max(abs(a), abs(b)) or 1.0)
    return relative if math.isfinite(relative) else math.inf


def compare_arms(base: dict[str, FinalArm], head: dict[str, FinalArm]) -> list[str]:
    """What changed, a line each; empty where nothing did."""
    lines = [f"arm {name}: only at base" for name in base if name not in head]
    lines += [f"arm {name}: only at head" for name in head if name not in base]
    moved = []
    for name in [arm for arm in base if arm in head]:
        old, new = base[name], head[name]
        if old.sha256 != new.sha256:
            lines.append(f"{name}: hash {old.sha256[:12]} -> {new.sha256[:12]}")
        if old.num_rows != new.num_rows:
            lines.append(f"{name}: rows {old.num_rows} -> {new.num_rows}")
        if old.failed_seeds != new.failed_seeds:
            lines.append(f"{name}: failed seeds {old.failed_seeds} -> {new.failed_seeds}")
        for where, ours, others in (("base", old, new), ("head", new, old)):
            names = [metric for metric in ours.last_row if metric not in others.last_row]
            lines += [f"{name}: metric {metric} only at {where}" for metric in names]
        shared = [metric for metric in old.last_row if metric in new.last_row]
        found = [largest_difference(m, old.last_row[m], new.last_row[m]) for m in shared]
        moved += [(name, difference) for difference in found if difference]
    moved.sort(key=lambda pair: -pair[1].relative)
    lines += [
        f"{name}: {d.name} {d.old!r} -> {d.new!r} (relative difference {d.relative:.2g})"
        for name, d in moved[:MOST_SHOWN]
    ]
    unseen = len(moved) - MOST_SHOWN
    return lines + ([f"and {unseen} more metrics, by less"] if unseen > 0 else [])
