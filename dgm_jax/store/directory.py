"""The run folder: one owner at a time, one run in its lifetime, readable whenever the run is
killed.

    config.json        what was asked for: the experiment's name and its settings
    environment.json   what it ran on, and what data it saw; later starts are listed under "resumed"
    metrics.jsonl      one row per logged step
    checkpoints/       the business of the training room
    figures/           pictures, with captions.json
    models/            parameters and model state of each arm, for all seeds (store.weights)
    summary.json       the result; its presence says that the run is finished
    report.html        for a person
"""

import io
import os
import pathlib
import shutil
import sys
import threading
from collections.abc import Callable

from dgm_jax.core import RunDirectoryError, differences, json_values, require
from dgm_jax.store import environment, ownership, records
from dgm_jax.store.ownership import LOCK, OWNER
from dgm_jax.store.rows import Rows

CONFIG, ENVIRONMENT = "config.json", "environment.json"
METRICS, SUMMARY, CAPTIONS = "metrics.jsonl", "summary.json", "captions.json"
FIGURES, CHECKPOINTS, MODELS = FOLDERS = ("figures", "checkpoints", "models")


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class RunDirectory:
    """An open run folder, locked until `close` or the end of the process (however it ends).

    Attributes: `path`, `experiment`, `config`; `resumed` (the folder held an unfinished run of this
        configuration);
    `finished` (it held a finished one: there is nothing to do); `figures`, `checkpoints` and
    `models` (folders).
    """

    def __init__(self, path: pathlib.Path, experiment: str, config: dict, lock):
        """Use `RunDirectory.create`."""
        self.path, self.experiment, self.config = path, experiment, config
        self.figures, self.checkpoints, self.models = (path / name for name in FOLDERS)
        self.resumed = self.finished = False
        self._lock, self._rows, self._writing = lock, Rows(path / METRICS), threading.RLock()

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
    ) -> "RunDirectory":
        """Takes the folder for a run, or raises `RunDirectoryError` and leaves it as it was.

        A missing or empty folder starts a run. One that holds an unfinished run of the same
        experiment and configuration is continued with `resume`, and refused with a hint without. A
        finished run is refused too, or with `resume` returned with `finished` set. Anything else is
        refused: a folder in use, another run, files that are no run. `launch`, how this start was
        asked for, is written into environment.json and may differ between starts. `notify` gets a
        sentence where `resume` found nothing to continue, or other versions than before.
        """
        config = json_values.plain(config, "config")
        require(
            "experiment" not in config, "a configuration may not have a setting named 'experiment'"
        )
        root = _prepare(path)
        directory = cls(root, experiment, config, ownership.acquire(root))
        try:
            directory._open(resume, notify, launch or {})
        except BaseException:
            directory.close()
            raise
        return directory

    def _open(self, resume, notify, launch):
        """Decides, under the lock, what the folder is to this run."""
        if not (self.path / CONFIG).exists():
            _require_empty(self.path)
            if resume:
                notify(f"nothing to resume in {self.path}: starting afresh")
            self._start(launch)
            return
        _require_same_run(self.path, self.experiment, self.config)
        if (self.path / SUMMARY).exists():
            records.read_json(self.path / SUMMARY)
            self.finished = True
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
        self.resumed = True
        self._continue(notify, launch)

    def _start(self, launch):
        for name in FOLDERS:
            (self.path / name).mkdir(exist_ok=True)
        self._write_environment(environment.collect_environment() | {"launch": launch})
        # Last, because a folder with a configuration is a run.
        records.write_atomically(
            self.path / CONFIG,
            json_values.dumps({"experiment": self.experiment, **self.config}, indent=2),
        )

    def _continue(self, notify, launch):
        """Makes an interrupted folder whole again and notes the new start in environment.json."""
        before, now = records.read_json(self.path / ENVIRONMENT), environment.collect_environment()
        changes = differences(before.get("jax_settings", {}), now["jax_settings"])
        require(
            not changes,
            f"{self.path} was started with other settings of JAX: {'; '.join(changes)}. Set them as"
            " they were, or choose another folder with --out",
            RunDirectoryError,
        )
        for folder in (self.path, *(self.path / name for name in FOLDERS)):
            records.contained(self.path, folder).mkdir(exist_ok=True)
            for leftover in folder.glob(".*.part"):
                leftover.unlink()
        self.truncate_rows(lambda row: True)
        changes = [
            row
            for part in ("versions", "devices", "git")
            for row in differences(before.get(part) or {}, now[part] or {}, f"{part}.")
        ]
        if changes:
            notify(
                "resuming in another environment, so later steps may differ in their last bits: "
                + "; ".join(changes)
            )
        now |= {"launch": launch}
        self._write_environment({**before, "resumed": [*before.get("resumed", []), now]})

    def _write_environment(self, content):
        records.write_atomically(self.path / ENVIRONMENT, json_values.dumps(content, indent=2))

    def record_dataset(self, identity: dict) -> None:
        """Writes down what data the run sees (name, source, number of examples, hash,
        preprocessing).

        A resumed run must see the same: `RunDirectoryError` names what differs.
        """
        identity = json_values.plain(identity, "dataset")
        content = records.read_json(self.path / ENVIRONMENT)
        if "dataset" in content:
            changes = differences(content["dataset"], identity)
            require(
                not changes,
                f"{self.path} was started on other data: {'; '.join(changes)}",
                RunDirectoryError,
            )
        self._write_environment({**content, "dataset": identity})

    def record_convolutions(self, name: str) -> None:
        """Writes down what computes the run's convolutions (`native.convolutions`).

        A resumed run must take the same, since the last bits depend on it; else
        `RunDirectoryError`.
        """
        content = records.read_json(self.path / ENVIRONMENT)
        before = content.get("convolutions", name)
        require(
            before == name,
            f"{self.path} was started with convolutions by {before}, and {name} gives other bits:"
            f" continue with --convolutions {before}, or choose another folder with --out",
            RunDirectoryError,
        )
        self._write_environment({**content, "convolutions": name})

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
        """All complete rows of metrics.jsonl; a last line torn by a crash is left out."""
        return read_rows(self.path)

    def truncate_rows(self, keep: Callable[[dict], bool]) -> int:
        """Keeps the rows for which `keep(row)` holds, byte for byte, and drops a torn last line.

        Before training goes on from a checkpoint of step t,
        `truncate_rows(lambda row: row["step"] <= t)` makes room for the steps that will be made
        again. Atomic; returns the number of rows kept.
        """
        with self._writing:
            self._require_open()
            return self._rows.truncate(keep)

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
        self._require_open()
        picture = io.BytesIO()
        figure.savefig(picture, format="png", metadata={"Software": None})
        name = records.safe_name(name)
        path = records.contained(self.path, self.figures / f"{name}.png")
        with self._writing:
            captions = read_captions(self.path)
            captions[name] = str(caption)
            records.write_atomically(self.figures / CAPTIONS, json_values.dumps(captions, indent=2))
            records.write_atomically(path, picture.getvalue())
        return path

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


def read_rows(path) -> list[dict]:
    """All complete rows of the metrics.jsonl in a run folder, also while a run is writing to it."""
    file = pathlib.Path(path) / METRICS
    if not file.exists():
        return []
    return [
        row
        for _, row in records.split_rows(
            records.contained(pathlib.Path(path), file).read_bytes(), str(file)
        )
    ]


def read_captions(path) -> dict[str, str]:
    """File name without ending -> caption, from figures/captions.json; empty where there is
    none."""
    file = pathlib.Path(path) / FIGURES / CAPTIONS
    return {k: str(v) for k, v in records.read_json(file).items()} if file.exists() else {}


def _prepare(path) -> pathlib.Path:
    """The folder, made if it was missing; refused, untouched, where it holds files that are no
    run."""
    text = os.fspath(path)
    require(
        text.isprintable() and text.strip() != "",
        f"run folder {text!r}: the name has unprintable characters or is empty",
        RunDirectoryError,
    )
    root = pathlib.Path(text)
    try:
        require(
            root.is_dir() or not root.exists(),
            f"run folder {text}: that is a file, not a folder",
            RunDirectoryError,
        )
        root.mkdir(parents=True, exist_ok=True)
        root = root.resolve()
        if not (root / CONFIG).exists():
            _require_empty(root)
        for name in (LOCK, OWNER, CONFIG, ENVIRONMENT, METRICS, SUMMARY, *FOLDERS):
            records.contained(root, root / name)
    except OSError as error:
        raise RunDirectoryError(f"run folder {text}: {error.strerror or error}") from error
    return root


def _require_empty(root):
    """A folder without config.json may hold what a start that was killed left there, and nothing
    else."""
    own = {LOCK, OWNER, ENVIRONMENT, *FOLDERS}
    foreign = sorted(
        p.name
        for p in root.iterdir()
        if p.name not in own and not (p.name.startswith(".") and p.name.endswith(".part"))
    )
    for folder in (root / name for name in FOLDERS):
        foreign += (
            sorted(f"{folder.name}/{p.name}" for p in folder.iterdir()) if folder.is_dir() else []
        )
    # asked again, since another start may have made it a run meanwhile
    if foreign and not (root / CONFIG).exists():
        shown = ", ".join(foreign[:5]) + (", ..." if len(foreign) > 5 else "")
        raise RunDirectoryError(
            f"{root} is not empty and holds no run ({shown}): "
            "choose an empty or new folder with --out"
        )


def _require_same_run(root, experiment, config):
    """Raises with every differing setting and both of its values."""
    stored = records.read_json(root / CONFIG)
    held = stored.pop("experiment", None)
    if held is None:
        raise RunDirectoryError(
            f"{root / CONFIG} is not the configuration of a run: choose another folder with --out"
        )
    require(
        held == experiment,
        f"{root} holds another run: experiment {held!r}, and this is {experiment!r}. "
        "Choose another folder with --out",
        RunDirectoryError,
    )
    changes = differences(stored, config)
    require(
        not changes,
        f"{root} holds another run of {experiment}: {'; '.join(changes)}. "
        "Choose another folder with --out, or the same settings",
        RunDirectoryError,
    )
