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
from dgm_jax.store.opening import Asked, Opened, open_folder
from dgm_jax.store.reading import (
    CHECKPOINTS,
    CONFIG,
    ENVIRONMENT,
    FIGURES,
    FOLDERS,
    METRICS,
    MODELS,
    RESERVED,
    SUMMARY,
    read_rows,
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

    def __init__(self, asked: Asked, opened: Opened, lock: filelock.BaseFileLock) -> None:
        """Use `RunDirectory.create`."""
        path = asked.path
        self.path = path
        self.experiment = asked.experiment
        self.config = asked.config
        self.figures = path / FIGURES
        self.checkpoints = path / CHECKPOINTS
        self.models = path / MODELS
        self.run_id = opened.run_id
        self.parent = opened.parent
        self.resumed = opened.resumed
        self.finished = opened.finished
        self._lock: filelock.BaseFileLock | None = lock
        self._writing = threading.RLock()
        self._rows = asked.rows
        self._notes = asked.notes
        self._pictures = Figures(path, asked.notify)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        experiment: str,
        config: dict[str, Any],
        resume: bool = False,
        *,
        notify: Callable[[str], None] = _to_stderr,
        usual: dict[str, Any] | None = None,
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
            usual: values of settings that a record leaves out, for refusals.
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
        lock = ownership.acquire(root)
        try:
            before = json_values.plain(parent, "parent")
            rows = Rows(root / METRICS)
            notes = Notes(root, notify)
            asked = Asked(
                root, experiment, config, usual or {}, launch or {}, before, rows, notes, notify
            )
            return cls(asked, open_folder(asked, resume), lock)
        except BaseException:
            ownership.release(root, lock)
            raise

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
