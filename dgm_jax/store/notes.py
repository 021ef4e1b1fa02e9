"""environment.json of an open run folder: what the run ran on and saw, and its later starts.

It is a record: where it is lost or damaged the run goes on, and it is written anew. What must not
change between two starts is compared with it where it is there, and with the checkpoints anyway.
"""

import pathlib
from collections.abc import Callable
from typing import Any

from dgm_jax.core import RunDirectoryError, differences, json_values, require
from dgm_jax.store import environment, reading, records


class Notes:
    """The notes of one run folder, kept in memory and written whole at each change."""

    def __init__(self, root: pathlib.Path, notify: Callable[[str], None]):
        self._root, self._file, self._notify = root, root / reading.ENVIRONMENT, notify
        self._content: dict[str, Any] = {}
        self._fault, self._written = "", True

    def start(self, launch: dict, parent: dict | None) -> None:
        """Of a new run."""
        self._content = environment.collect_environment() | {"launch": launch}
        self._content |= {"parent": parent} if parent else {}
        self._write()

    def go_on(self, launch: dict, parent: dict | None) -> None:
        """Of a run that is continued: this start is listed under "resumed".

        It is written with the first `record`, when it is known that this start may go on.

        Raises:
            RunDirectoryError: the run was started with other settings of JAX.
        """
        before, self._fault = reading.environment_or_fault(self._root)
        now, self._written = environment.collect_environment(), False
        if self._fault:
            self._notify(f"{self._fault}: it is written anew")
            self._content = now | {"launch": launch, "written_anew": self._fault}
            self._content |= {"parent": parent} if parent else {}
            return
        changes = differences(before.get("jax_settings", now["jax_settings"]), now["jax_settings"])
        require(
            not changes,
            f"{self._root} was started with other settings of JAX: {'; '.join(changes)}. Set them"
            " as they were, or choose another folder with --out",
            RunDirectoryError,
        )
        changes = [
            row
            for part in ("versions", "devices", "git")
            for row in differences(before.get(part) or {}, now[part] or {}, f"{part}.")
        ]
        if changes:
            self._notify(
                "resuming in another environment, so later steps may differ in their last bits: "
                + "; ".join(changes)
            )
        again = now | {"launch": launch}
        self._content = {**before, "resumed": [*before.get("resumed", []), again]}

    def compare(self, dataset: dict | None = None, convolutions: str | None = None) -> None:
        """Looks at what a run sees without writing it down.

        Args:
            dataset: identity of the data (name, source, number of examples, hash, preprocessing).
            convolutions: what computes them (`native.convolutions`); the last bits depend on it.

        Raises:
            RunDirectoryError: the run was started on other data, or with other convolutions.
        """
        if dataset is not None and "dataset" in self._content:
            changes = differences(self._content["dataset"], json_values.plain(dataset, "dataset"))
            require(
                not changes,
                f"{self._root} was started on other data: {'; '.join(changes)}",
                RunDirectoryError,
            )
        before = self._content.get("convolutions", convolutions)
        require(
            convolutions is None or before == convolutions,
            f"{self._root} was started with convolutions by {before}, and {convolutions} gives"
            f" other bits: continue with --convolutions {before}, or choose another folder with"
            " --out",
            RunDirectoryError,
        )

    def record(self, dataset: dict | None = None, convolutions: str | None = None) -> None:
        """Writes down what a run sees; arguments and errors are those of `compare`."""
        self.compare(dataset, convolutions)
        given = {"dataset": dataset, "convolutions": convolutions}
        found = {name: value for name, value in given.items() if value is not None}
        content = self._content | json_values.plain(found, "record")
        if content != self._content or not self._written:
            self._content = content
            self._write()

    def _write(self) -> None:
        if self._fault and self._file.exists():
            self._notify(f"the damaged file is now {records.set_aside(self._file).name}")
        records.write_atomically(self._file, json_values.dumps(self._content, indent=2))
        self._fault, self._written = "", True
