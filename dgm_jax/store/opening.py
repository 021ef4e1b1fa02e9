"""Opens a run folder, under its lock: starts a run, continues an unfinished one, or refuses."""

import pathlib
import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

from dgm_jax.core import RunDirectoryError, json_values, require
from dgm_jax.store import admission, records
from dgm_jax.store.notes import Notes
from dgm_jax.store.reading import CONFIG, FOLDERS, FORMAT, SUMMARY, read_summary
from dgm_jax.store.rows import Rows


class Asked(NamedTuple):
    """A run that asks for a folder.

    Attributes:
        path: the folder.
        experiment: name of the experiment.
        config: its settings, as JSON values.
        usual: values of settings that a record leaves out.
        launch: how this start was asked for.
        parent: the run that a new one continues, or None.
        rows: of the folder.
        notes: of the folder.
        notify: shows a sentence.
    """

    path: pathlib.Path
    experiment: str
    config: dict[str, Any]
    usual: dict[str, Any]
    launch: dict[str, Any]
    parent: dict[str, Any] | None
    rows: Rows
    notes: Notes
    notify: Callable[[str], None]


class Opened(NamedTuple):
    """What was found in the folder, or put there.

    Attributes:
        run_id: the random name of the run.
        parent: the run that it continues, or None.
        resumed: whether the folder held an unfinished run.
        finished: whether it held a finished one.
    """

    run_id: str
    parent: dict[str, Any] | None
    resumed: bool = False
    finished: bool = False


def open_folder(asked: Asked, resume: bool) -> Opened:
    """Decide whether to start, to continue or to refuse, and do it.

    Args:
        asked: the run.
        resume: whether an unfinished run may be continued.

    Returns:
        What the folder holds.

    Raises:
        RunDirectoryError: if the folder is refused; it is left as it was.
    """
    path = asked.path
    if not (path / CONFIG).exists():
        admission.require_empty(path)
        if resume:
            asked.notify(f"nothing to resume in {path}: starting afresh")
        return _start(asked)
    stored = admission.require_same_run(path, asked.experiment, asked.config, asked.usual)
    finished, fault = _read_finished(path)
    if finished:
        require(
            resume,
            f"{path} holds a finished run of this configuration: choose another folder with --out,"
            " or rebuild its report with `dgm-jax report`",
            RunDirectoryError,
        )
        return Opened(stored.run_id, stored.parent, finished=True)
    require(
        resume,
        f"{path} holds an unfinished run of this configuration: continue it with --resume, or"
        " choose another folder with --out",
        RunDirectoryError,
    )
    require(
        stored.format == FORMAT,
        f"{path} holds an unfinished run of an older version of dgm_jax, whose checkpoints do not"
        " say which run they belong to: finish it with that version, or begin again in another"
        " folder with --out",
        RunDirectoryError,
    )
    _repair(asked, stored.parent, fault)
    return Opened(stored.run_id, stored.parent, resumed=True)


def _read_finished(path: pathlib.Path) -> tuple[bool, str]:
    """Whether there is a summary, and what is wrong with a damaged one, or ""."""
    try:
        return read_summary(path) is not None, ""
    except RunDirectoryError as error:
        return False, str(error)


def _start(asked: Asked) -> Opened:
    """Write the files of a new run."""
    for name in FOLDERS:
        (asked.path / name).mkdir(exist_ok=True)
    asked.notes.start(asked.launch, asked.parent)
    run_id = secrets.token_hex(8)
    known = {"experiment": asked.experiment, "format": FORMAT, "run_id": run_id}
    if asked.parent:
        known["parent"] = asked.parent
    # Written last, because a folder with a configuration is a run.
    text = json_values.dumps(known | asked.config, indent=2)
    records.write_atomically(asked.path / CONFIG, text)
    return Opened(run_id, asked.parent)


def _repair(asked: Asked, parent: dict[str, Any] | None, fault: str) -> None:
    """Repair the folder of an interrupted run, and note the new start."""
    asked.notes.go_on(asked.launch, parent)
    if fault:
        name = records.set_aside(asked.path / SUMMARY).name
        asked.notify(f"{fault}: it is now {name}, and the run is finished again")
    for folder in (asked.path, *(asked.path / name for name in FOLDERS)):
        records.contained(asked.path, folder).mkdir(exist_ok=True)
        for leftover in folder.glob(".*.part"):
            leftover.unlink()
    for sentence in asked.rows.mend():
        asked.notify(sentence)
