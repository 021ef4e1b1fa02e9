"""What the files of a run folder say, read without changing them, also while a run writes to it."""

import pathlib
from typing import Any, NamedTuple

from dgm_jax.core import RunDirectoryError, require
from dgm_jax.store import records

CONFIG, ENVIRONMENT = "config.json", "environment.json"
METRICS, SUMMARY, CAPTIONS = "metrics.jsonl", "summary.json", "captions.json"
FIGURES, CHECKPOINTS, MODELS = FOLDERS = ("figures", "checkpoints", "models")

FORMAT = 2  # 1, which was not written down: checkpoints did not say which run they belong to
RESERVED = ("experiment", "format", "run_id", "parent")  # entries of config.json beside settings
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
    """config.json of a run.

    experiment: its name. settings: as they were given, `grid` among them. format: version of the
        folder's format. run_id: the run's own random name, which its checkpoints carry; "" in
        format 1. parent: what the run goes on from, where it is not a run from step 0.
    """

    experiment: str
    settings: dict[str, Any]
    format: int
    run_id: str
    parent: dict[str, Any] | None


def read_config(root) -> Stored:
    """The configuration of the run in a folder.

    Raises:
        RunDirectoryError: there is none, it is damaged or no configuration of a run, or the
            folder's format is newer than this version of dgm_jax.
    """
    file = pathlib.Path(root) / CONFIG
    settings = records.read_json(file)
    known = {name: settings.pop(name) for name in RESERVED if name in settings}
    version, run_id, parent = known.get("format", 1), known.get("run_id", ""), known.get("parent")
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


def read_summary(root) -> dict[str, Any] | None:
    """summary.json of a finished run, or None where there is none.

    Raises:
        RunDirectoryError: it is damaged, or lacks what every finished run has written.
    """
    file = pathlib.Path(root) / SUMMARY
    if not file.exists():
        return None
    summary = records.read_json(file)
    wrong = [name for name, kind in _IN_SUMMARY.items() if not isinstance(summary.get(name), kind)]
    require(
        not wrong, f"{file} is no summary of a finished run: look at {wrong}", RunDirectoryError
    )
    hashes = summary["final_params_sha256"]
    without = [arm for arm in summary["arms"] if not isinstance(hashes.get(str(arm)), str)]
    require(
        bool(summary["arms"]) and not without,
        f"{file} is no summary of a finished run: no SHA-256 of arms {without}",
        RunDirectoryError,
    )
    return summary


def read_environment(root) -> dict[str, Any]:
    """environment.json, which nothing depends on but the record: empty where it is lost or
    damaged."""
    return environment_or_fault(root)[0]


def environment_or_fault(root) -> tuple[dict[str, Any], str]:
    """environment.json and "", or an empty dictionary and what is wrong with it."""
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
    starts = content.get("resumed", [])
    if not wrong and not all(
        isinstance(start, dict) and isinstance(start.get("launch", {}), dict) for start in starts
    ):
        wrong = ["resumed"]
    return ({}, f"{file} is damaged: look at {wrong}") if wrong else (content, "")


def read_rows(root) -> list[dict]:
    """All sound rows of metrics.jsonl; lines that are damaged are left out."""
    return [row for row in _lines(root) if row is not None]


def count_damaged_rows(root) -> int:
    """Lines of metrics.jsonl that are no rows, but for a last one that a crash has torn."""
    return _lines(root).count(None)


def _lines(root) -> list[dict | None]:
    file = pathlib.Path(root) / METRICS
    if not file.is_file():
        return []
    content = records.contained(pathlib.Path(root), file).read_bytes()
    return [row for _, row in records.split_lines(content)]


def read_captions(root) -> dict[str, str]:
    """File name without ending -> caption, from figures/captions.json; empty where it is lost or
    damaged."""
    file = pathlib.Path(root) / FIGURES / CAPTIONS
    try:
        return {k: str(v) for k, v in records.read_json(file).items()} if file.exists() else {}
    except RunDirectoryError:
        return {}
