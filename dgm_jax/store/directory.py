"""The run folder: one owner at a time, one run in its lifetime, readable after any kill.

config.json        what was asked for: the experiment's name and its settings; also the version
                   of the folder's format, the run's random name, and the run that it continues
environment.json   what it ran on, and what data it used; later starts are under "resumed"
metrics.jsonl      one row per logged step
checkpoints/       written by `training.checkpoint`
figures/           plots, with captions.json
models/            parameters and model state of each arm, for all seeds (store.weights)
profile/           traces of some steps, with --profile
summary.json       the result; its presence says that the run is finished
report.html        for a person
"""

import os
import pathlib
import secrets
import shutil
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import filelock

from dgm_jax.core import RunDirectoryError, json_values, require
from dgm_jax.store import admission, ownership, records
from dgm_jax.store.figures import Figures
from dgm_jax.store.notes import Notes
from dgm_jax.store.reading import (
    CHECKPOINTS,
    CONFIG,
    ENVIRONMENT,
    FIGURES,
    FOLDERS,
    FORMAT,
    METRICS,
    MODELS,
    RESERVED,
    SUMMARY,
    read_rows,
    read_summary,
)
from dgm_jax.store.rows import Rows


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class RunDirectory:
    """An open run folder, locked until `close` or the end of the process (however it ends).

    Attributes:
        path: the folder.
        experiment: name of the experiment.
        config: its settings.
        run_id: a random name, which the run keeps wherever its folder is moved.
        parent: the run that this one continues, or None.
        resumed: the folder held an unfinished run of this configuration.
        finished: it held a finished one, so there is nothing to do.
        writes: whether this process writes the folder; not so in a `store.witness.Witness`.
        figures: folder of the plots.
        checkpoints: folder of the checkpoints.
        models: folder of the trained models.
    """

    writes = True

    def __init__(
        self,
        path: pathlib.Path,
        experiment: str,
        config: dict[str, Any],
        lock: filelock.BaseFileLock,
        notify: Callable[[str], None],
    ) -> None:
        """Use `RunDirectory.create`."""
        self.path = path
        self.experiment = experiment
        self.config = config
        self.figures = path / FIGURES
        self.checkpoints = path / CHECKPOINTS
        self.models = path / MODELS
        self.run_id = secrets.token_hex(8)
        self.parent: dict[str, Any] | None = None
        self.resumed = False
        self.finished = False
        self._lock: filelock.BaseFileLock | None = lock
        self._notify = notify
        self._writing = threading.RLock()
        self._rows = Rows(path / METRICS)
        self._notes = Notes(path, notify)
        self._pictures = Figures(path, notify)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        experiment: str,
        config: dict[str, Any],
        resume: bool = False,
        *,
        notify: Callable[[str], None] = _to_stderr,
        launch: dict[str, Any] | None = None,
        parent: dict[str, Any] | None = None,
    ) -> "RunDirectory":
        """Take a folder for a run.

        A missing or empty folder starts a run. One that holds an unfinished run of the same
        experiment and configuration is continued with `resume`, and refused with a hint without it.
        A finished run is refused too, or with `resume` returned with `finished` set. Anything else
        is refused: a folder in use, another run, files that are not a run.

        Args:
            path: the folder.
            experiment: name of the experiment.
            config: its settings.
            resume: whether to continue an unfinished run.
            notify: called with a sentence if `resume` found nothing to continue, other versions
                than before, or damage that the run can do without.
            launch: how this start was asked for; it is written to environment.json and may differ
                between starts.
            parent: the run that a new one continues; it is written to config.json.

        Returns:
            The open folder.

        Raises:
            ConfigError: for a setting whose name is reserved.
            RunDirectoryError: if the folder is refused; it is left as it was.
        """
        config = json_values.plain(config, "config")
        reserved = sorted(set(RESERVED) & set(config))
        require(not reserved, f"a configuration may not have settings named {reserved}")
        root = admission.prepare(path)
        directory = cls(root, experiment, config, ownership.acquire(root), notify)
        directory.parent = json_values.plain(parent, "parent")
        try:
            directory._open(resume, launch or {})
        except BaseException:
            directory.close()
            raise
        return directory

    def _open(self, resume: bool, launch: dict[str, Any]) -> None:
        """Decide, under the lock, whether to start, to continue or to refuse."""
        if not (self.path / CONFIG).exists():
            admission.require_empty(self.path)
            if resume:
                self._notify(f"nothing to resume in {self.path}: starting afresh")
            self._start(launch)
            return
        stored = admission.require_same_run(self.path, self.experiment, self.config)
        self.run_id = stored.run_id
        self.parent = stored.parent
        fault = self._read_finished()
        if self.finished:
            require(
                resume,
                f"{self.path} holds a finished run of this configuration: choose another folder"
                " with --out, or rebuild its report with `dgm-jax report`",
                RunDirectoryError,
            )
            return
        require(
            resume,
            f"{self.path} holds an unfinished run of this configuration: continue it with --resume,"
            " or choose another folder with --out",
            RunDirectoryError,
        )
        require(
            stored.format == FORMAT,
            f"{self.path} holds an unfinished run of an older version of dgm_jax, whose checkpoints"
            " do not say which run they belong to: finish it with that version, or begin again in"
            " another folder with --out",
            RunDirectoryError,
        )
        self.resumed = True
        self._continue(launch, fault)

    def _read_finished(self) -> str:
        """Set `finished`; return what is wrong with a damaged summary, or ""."""
        try:
            self.finished = read_summary(self.path) is not None
        except RunDirectoryError as error:
            return str(error)
        return ""

    def _start(self, launch: dict[str, Any]) -> None:
        """Write the files of a new run."""
        for name in FOLDERS:
            (self.path / name).mkdir(exist_ok=True)
        self._notes.start(launch, self.parent)
        known = {"experiment": self.experiment, "format": FORMAT, "run_id": self.run_id}
        if self.parent:
            known["parent"] = self.parent
        # Written last, because a folder with a configuration is a run.
        text = json_values.dumps(known | self.config, indent=2)
        records.write_atomically(self.path / CONFIG, text)

    def _continue(self, launch: dict[str, Any], fault: str) -> None:
        """Repair the folder of an interrupted run, and note the new start."""
        self._notes.go_on(launch, self.parent)
        if fault:
            name = records.set_aside(self.path / SUMMARY).name
            self._notify(f"{fault}: it is now {name}, and the run is finished again")
        for folder in (self.path, *(self.path / name for name in FOLDERS)):
            records.contained(self.path, folder).mkdir(exist_ok=True)
            for leftover in folder.glob(".*.part"):
                leftover.unlink()
        for sentence in self._rows.mend():
            self._notify(sentence)

    def compare(
        self, dataset: dict[str, Any] | None = None, convolutions: str | None = None
    ) -> None:
        """Check that the run was started on the same data, with the same convolutions.

        Writes nothing.

        Args:
            dataset: identity of the data, as in `store.notes.Notes.compare`.
            convolutions: what computes them.

        Raises:
            RunDirectoryError: if they differ.
        """
        self._notes.compare(dataset, convolutions)

    def record(
        self, dataset: dict[str, Any] | None = None, convolutions: str | None = None
    ) -> None:
        """Write down the data of the run; for a resumed run, after its checkpoint was restored.

        Args:
            dataset: identity of the data, as in `store.notes.Notes.compare`.
            convolutions: what computes them.

        Raises:
            RunDirectoryError: if they differ from those of the first start.
        """
        with self._writing:
            self._require_open()
            self._notes.record(dataset, convolutions)

    def append_row(self, row: dict[str, Any]) -> None:
        """Append a row to metrics.jsonl and flush it to the disk.

        If the disk refuses (for example, because it is full), the part that was written is removed
        before the error is raised.

        Args:
            row: arrays become lists, NaN and infinity null.

        Raises:
            OSError: if it cannot be written.
        """
        with self._writing:
            self._require_open()
            self._rows.append(row)

    def read_rows(self) -> list[dict[str, Any]]:
        """Read all sound rows of metrics.jsonl, without a last line cut short by a crash."""
        return read_rows(self.path)

    def settle_rows(
        self,
        arms: Collection[str],
        logged: Mapping[str, Collection[int]],
        known: Sequence[dict[str, Any]] = (),
    ) -> list[str]:
        """Make the rows of arms those of the steps that were logged, see `store.rows.Rows.settle`.

        Args:
            arms: names of all arms of the run.
            logged: {arm: steps} up to the checkpoint of the arm.
            known: rows of that checkpoint.

        Returns:
            Sentences about what was wrong.
        """
        with self._writing:
            self._require_open()
            return self._rows.settle(arms, logged, known)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write summary.json, which makes the run finished; to be called last, after the plots.

        Args:
            summary: its content.
        """
        with self._writing:
            self._require_open()
            text = json_values.dumps(summary, indent=2) + "\n"
            records.write_atomically(self.path / SUMMARY, text)

    def save_figure(self, name: str, figure: Any, caption: str = "") -> pathlib.Path:
        """Save a plot as figures/NAME.png, and its caption for the report.

        Args:
            name: a name with other characters than letters, digits and `. _ = , + -` is replaced by
                one that no other name gets. A plot of the same name is replaced.
            figure: a matplotlib `Figure`.
            caption: a sentence for the report.

        Returns:
            Path of the file.
        """
        with self._writing:
            self._require_open()
            return self._pictures.save(name, figure, caption)

    def _require_open(self) -> None:
        require(self._lock is not None, f"the run folder {self.path} is closed", RunDirectoryError)

    def forget(self) -> None:
        """Undo the start of a run that wrote no row, so that the folder can be used with other
        settings.

        Does nothing for a run that was resumed or has rows.
        """
        self._require_open()
        if self.resumed or self.finished or self.read_rows():
            return
        for name in FOLDERS:
            shutil.rmtree(self.path / name, ignore_errors=True)
        # The configuration first, since a folder without one counts as empty.
        (self.path / CONFIG).unlink(missing_ok=True)
        (self.path / ENVIRONMENT).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files and release the lock; a second call does nothing."""
        with self._writing:
            self._rows.close()
            lock = self._lock
            self._lock = None
            if lock is not None:
                ownership.release(self.path, lock)

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
