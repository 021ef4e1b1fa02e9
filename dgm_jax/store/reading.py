"""Reads the files of a run folder without changing them, also while a run writes to it."""

import os
import pathlib
from typing import Any, NamedTuple

from dgm_jax.core import RunDirectoryError, require
from dgm_jax.store import records

CONFIG = "config.json"
ENVIRONMENT = "environment.json"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
CAPTIONS = "captions.json"
FIGURES = "figures"
CHECKPOINTS = "checkpoints"
MODELS = "models"
FOLDERS = (FIGURES, CHECKPOINTS, MODELS)

# In format 1, which was not written down, checkpoints did not say which run they belong to.
FORMAT = 2
# Entries of config.json that are not settings.
RESERVED = ("experiment", "format", "run_id", "parent")
PathLike = str | os.PathLike[str]
_IN_SUMMARY: dict[str, type] = {
    "experiment": str,
    "config": dict,
    "arms": list,
    "num_seeds": int,
    "num_steps": int,
    "failed_seeds": list,
    "metrics": dict,
    "final_params_sha256": dict,
}


class Stored(NamedTuple):
    """The content of a run's config.json.

    Attributes:
        experiment: its name.
        settings: as they were given, including `grid`.
        format: version of the folder's format.
        run_id: the run's random name, which its checkpoints carry; "" in format 1.
        parent: the run that this one continues, or None for a run from step 0.
    """

    experiment: str
    settings: dict[str, Any]
    format: int
    run_id: str
    parent: dict[str, Any] | None


def read_config(root: PathLike) -> Stored:
    """Read the configuration of a run.

    Args:
        root: the run folder.

    Returns:
        The content of config.json.

    Raises:
        RunDirectoryError: if it is missing, damaged or not the configuration of a run, or the
            folder's format is newer than this version of dgm_jax.
    """
    file = pathlib.Path(root) / CONFIG
    settings = records.read_json(file)
    known = {name: settings.pop(name) for name in RESERVED if name in settings}
    version = known.get("format", 1)
    run_id = known.get("run_id", "")
    parent = known.get("parent")
    require(
        isinstance(known.get("experiment"), str)
        and isinstance(version, int)
        and isinstance(run_id, str)
        and isinstance(parent, (dict, type(None))),
        f"{file} is not the configuration of a run: choose another folder with --out",
        RunDirectoryError,
    )
    require(
        version <= FORMAT,
        f"{root} has format {version} of run folders, and this version of dgm_jax knows those up to"
        f" {FORMAT}: use a newer one",
        RunDirectoryError,
    )
    return Stored(known["experiment"], settings, version, run_id, parent)


def read_summary(root: PathLike) -> dict[str, Any] | None:
    """Read the summary of a finished run.

    Args:
        root: the run folder.

    Returns:
        The content of summary.json, or None if there is none.

    Raises:
        RunDirectoryError: if it is damaged, or lacks what every finished run has written.
    """
    file = pathlib.Path(root) / SUMMARY
    if not file.exists():
        return None
    summary = records.read_json(file)
    wrong = [name for name, kind in _IN_SUMMARY.items() if not isinstance(summary.get(name), kind)]
    require(
        not wrong,
        f"{file} is no summary of a finished run: look at {wrong}",
        RunDirectoryError,
    )
    hashes = summary["final_params_sha256"]
    without_hash = [arm for arm in summary["arms"] if not isinstance(hashes.get(str(arm)), str)]
    require(
        bool(summary["arms"]) and not without_hash,
        f"{file} is no summary of a finished run: no SHA-256 of arms {without_hash}",
        RunDirectoryError,
    )
    return summary


def read_environment(root: PathLike) -> dict[str, Any]:
    """Read environment.json, which serves the record only.

    Args:
        root: the run folder.

    Returns:
        Its content; empty if it is lost or damaged.
    """
    return environment_or_fault(root)[0]


def environment_or_fault(root: PathLike) -> tuple[dict[str, Any], str]:
    """Read environment.json, and say what is wrong with it.

    Args:
        root: the run folder.

    Returns:
        Its content and "", or an empty dictionary and what is wrong.
    """
    file = pathlib.Path(root) / ENVIRONMENT
    if not file.exists():
        return {}, f"{file} is lost"
    try:
        content = records.read_json(file)
    except RunDirectoryError as error:
        return {}, str(error)
    kinds: dict[str, Any] = dict.fromkeys(
        ("versions", "devices", "jax_settings", "launch", "dataset", "parent"), dict
    )
    kinds |= {"git": (dict, type(None)), "resumed": list, "convolutions": str}
    wrong = [k for k, kind in kinds.items() if k in content and not isinstance(content[k], kind)]
    if not wrong and not all(map(_is_start, content.get("resumed", []))):
        wrong = ["resumed"]
    if wrong:
        return {}, f"{file} is damaged: look at {wrong}"
    return content, ""


def _is_start(entry: Any) -> bool:
    """Whether an entry of "resumed" describes a start."""
    return isinstance(entry, dict) and isinstance(entry.get("launch", {}), dict)


def read_rows(root: PathLike) -> list[dict[str, Any]]:
    """Read all sound rows of metrics.jsonl; damaged lines are left out.

    Args:
        root: the run folder.

    Returns:
        The rows, in the order of the file.
    """
    return [row for row in _lines(root) if row is not None]


def count_damaged_rows(root: PathLike) -> int:
    """Count the damaged lines of metrics.jsonl, except a last one cut short by a crash.

    Args:
        root: the run folder.

    Returns:
        Their number.
    """
    return _lines(root).count(None)


def _lines(root: PathLike) -> list[dict[str, Any] | None]:
    """The rows of metrics.jsonl, None for a damaged line."""
    file = pathlib.Path(root) / METRICS
    if not file.is_file():
        return []
    content = records.contained(pathlib.Path(root), file).read_bytes()
    return [row for _, row in records.split_lines(content)]


def read_captions(root: PathLike) -> dict[str, str]:
    """Read the captions of the plots.

    Args:
        root: the run folder.

    Returns:
        File name without ending -> caption; empty if figures/captions.json is lost or damaged.
    """
    file = pathlib.Path(root) / FIGURES / CAPTIONS
    if not file.exists():
        return {}
    try:
        return {name: str(caption) for name, caption in records.read_json(file).items()}
    except RunDirectoryError:
        return {}
