"""The run folder: one owner at a time, one run in its lifetime, readable whenever the run is
killed.

    config.json        what was asked for: the experiment's name and its settings; also the version
                       of the folder's format, the run's random name, and the run it goes on from
    environment.json   what it ran on, and what data it saw; later starts are listed under "resumed"
    metrics.jsonl      one row per logged step
    checkpoints/       the business of the training room
    figures/           pictures, with captions.json
    models/            parameters and model state of each arm, for all seeds (store.weights)
    profile/           traces of some steps, with --profile
    summary.json       the result; its presence says that the run is finished
    report.html        for a person
"""

import pathlib
import secrets
import shutil
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence

from dgm_jax.core import RunDirectoryError, json_values, require
from dgm_jax.store import admission, ownership, records
from dgm_jax.store.figures import Figures
from dgm_jax.store.notes import Notes
from dgm_jax.store.reading import (
    CONFIG,
    ENVIRONMENT,
    FOLDERS,
    FORMAT,
    METRICS,
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

    Attributes: `path`, `experiment`, `config`; `run_id` (a random name, the run's own wherever its
        folder is moved); `parent` (what it goes on from, or None);
    `resumed` (the folder held an unfinished run of this configuration);
    `finished` (it held a finished one: there is nothing to do); `figures`, `checkpoints` and
    `models` (folders).
    """

    def __init__(self, path: pathlib.Path, experiment: str, config: dict, lock, notify):
        """Use `RunDirectory.create`."""
        self.path, self.experiment, self.config = path, experiment, config
        self.figures, self.checkpoints, self.models = (path / name for name in FOLDERS)
        self.run_id, self.parent = secrets.token_hex(8), None
        self.resumed = self.finished = False
        self._lock, self._notify, self._writing = lock, notify, threading.RLock()
        self._rows, self._notes = Rows(path / METRICS), Notes(path, notify)
        self._pictures = Figures(path, notify)

    @classmethod
    def create(
        cls,
        path,
        experiment: str,
        config: dict,
        resume: bool = False,
        *,
        notify: Callable[[str], None] = _to_stderr,
        launch: dict | None = None,
        parent: dict | None = None,
    ) -> "RunDirectory":
        """Takes the folder for a run, or raises `RunDirectoryError` and leaves it as it was.

        A missing or empty folder starts a run. One that holds an unfinished run of the same
        experiment and configuration is continued with `resume`, and refused with a hint without. A
        finished run is refused too, or with `resume` returned with `finished` set. Anything else is
        refused: a folder in use, another run, files that are no run. `launch`, how this start was
        asked for, is written into environment.json and may differ between starts. `notify` gets a
        sentence where `resume` found nothing to continue, other versions than before, or something
        damaged that the run can do without. `parent` names the run that a new one goes on from; it
        is written into config.json.
        """
        config = json_values.plain(config, "config")
        taken = sorted(set(RESERVED) & set(config))
        require(not taken, f"a configuration may not have settings named {taken}")
        root = admission.prepare(path)
        directory = cls(root, experiment, config, ownership.acquire(root), notify)
        directory.parent = json_values.plain(parent, "parent")
        try:
            directory._open(resume, launch or {})
        except BaseException:
            directory.close()
            raise
        return directory

    def _open(self, resume, launch):
        """Decides, under the lock, what the folder is to this run."""
        if not (self.path / CONFIG).exists():
            admission.require_empty(self.path)
            if resume:
                self._notify(f"nothing to resume in {self.path}: starting afresh")
            self._start(launch)
            return
        stored = admission.require_same_run(self.path, self.experiment, self.config)
        self.run_id, self.parent = stored.run_id, stored.parent
        fault = self._look_at_summary()
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

    def _look_at_summary(self) -> str:
        """Sets `finished`; returns what is wrong with a summary that is no sign of that."""
        try:
            self.finished = read_summary(self.path) is not None
        except RunDirectoryError as error:
            return str(error)
        return ""

    def _start(self, launch):
        for name in FOLDERS:
            (self.path / name).mkdir(exist_ok=True)
        self._notes.start(launch, self.parent)
        known = {"experiment": self.experiment, "format": FORMAT, "run_id": self.run_id}
        known |= {"parent": self.parent} if self.parent else {}
        # Last, because a folder with a configuration is a run.
        records.write_atomically(
            self.path / CONFIG, json_values.dumps(known | self.config, indent=2)
        )

    def _continue(self, launch, fault: str):
        """Makes an interrupted folder whole again and notes the new start in environment.json."""
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

    def compare(self, dataset: dict | None = None, convolutions: str | None = None) -> None:
        """`RunDirectoryError` where the run was started on other data, or with other convolutions
        (`store.notes.Notes.compare`). Writes nothing."""
        self._notes.compare(dataset, convolutions)

    def record(self, dataset: dict | None = None, convolutions: str | None = None) -> None:
        """Writes down what the run sees: of a resumed run, when its checkpoint has been taken."""
        with self._writing:
            self._require_open()
            self._notes.record(dataset, convolutions)

    def append_row(self, row: dict) -> None:
        """Adds one row to metrics.jsonl and flushes it to the disk; arrays become lists, NaN and
        infinity null.

        Where the disk refuses (full, say) the part that was written is taken back before the error
        is raised.
        """
        with self._writing:
            self._require_open()
            self._rows.append(row)

    def read_rows(self) -> list[dict]:
        """All sound rows of metrics.jsonl; a last line torn by a crash is left out."""
        return read_rows(self.path)

    def settle_rows(
        self,
        arms: Collection[str],
        logged: Mapping[str, Collection[int]],
        known: Sequence[dict] = (),
    ) -> list[str]:
        """Makes the rows of arms those of the steps that were logged; returns sentences about what
        was wrong (`store.rows.Rows.settle`)."""
        with self._writing:
            self._require_open()
            return self._rows.settle(arms, logged, known)

    def write_summary(self, summary: dict) -> None:
        """Writes summary.json, which makes the run finished. Do it last, after the figures."""
        with self._writing:
            self._require_open()
            records.write_atomically(
                self.path / SUMMARY, json_values.dumps(summary, indent=2) + "\n"
            )

    def save_figure(self, name: str, figure, caption: str = "") -> pathlib.Path:
        """Saves a matplotlib `Figure` as figures/NAME.png and its caption for the report; returns
        the path.

        A name outside letters, digits and `. _ = , + -` is changed into one that no other name
        gets. Saving under an old name replaces the picture.
        """
        with self._writing:
            self._require_open()
            return self._pictures.save(name, figure, caption)

    def _require_open(self):
        require(self._lock is not None, f"the run folder {self.path} is closed", RunDirectoryError)

    def forget(self) -> None:
        """Takes back a run that wrote no row, so that the folder can be used with corrected
        settings.

        Does nothing for a run that was resumed or has rows.
        """
        self._require_open()
        if self.resumed or self.finished or self.read_rows():
            return
        for name in FOLDERS:
            shutil.rmtree(self.path / name, ignore_errors=True)
        # First the configuration, since what is left without one counts as an empty folder.
        (self.path / CONFIG).unlink(missing_ok=True)
        (self.path / ENVIRONMENT).unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the files and gives the folder back. Closing twice is fine."""
        with self._writing:
            self._rows.close()
            if self._lock is not None:
                lock, self._lock = self._lock, None
                ownership.release(self.path, lock)

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(self, *_):
        self.close()
