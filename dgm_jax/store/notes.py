"""environment.json of an open run folder: what the run ran on and used, and its later starts.

It is a record: if it is lost or damaged the run continues, and it is written anew. What must not
change between two starts is compared with it if it exists, and with the checkpoints in any case.
"""

import pathlib
from collections.abc import Callable
from typing import Any

from dgm_jax.core import RunDirectoryError, differences, json_values, require
from dgm_jax.store import environment, reading, records


class Notes:
    """The notes of one run folder, kept in memory and written as a whole at each change."""

    def __init__(self, root: pathlib.Path, notify: Callable[[str], None]) -> None:
        self._root = root
        self._file = root / reading.ENVIRONMENT
        self._notify = notify
        self._content: dict[str, Any] = {}
        self._fault = ""
        self._written = True

    def start(self, launch: dict[str, Any], parent: dict[str, Any] | None) -> None:
        """Write the notes of a new run.

        Args:
            launch: how this start was asked for.
            parent: the run that it continues, if any.
        """
        self._content = environment.collect_environment() | {"launch": launch}
        if parent:
            self._content["parent"] = parent
        self._write()

    def go_on(self, launch: dict[str, Any], parent: dict[str, Any] | None) -> None:
        """Note the start of a run that is continued, under "resumed".

        It is written with the first `record`, when it is known that this start may continue.

        Args:
            launch: how this start was asked for.
            parent: the run that it continues, if any.

        Raises:
            RunDirectoryError: if the run was started with other settings of JAX.
        """
        before, self._fault = reading.environment_or_fault(self._root)
        now = environment.collect_environment()
        self._written = False
        if self._fault:
            self._notify(f"{self._fault}: it is written anew")
            self._content = now | {"launch": launch, "written_anew": self._fault}
            if parent:
                self._content["parent"] = parent
            return
        changes = differences(before.get("jax_settings", now["jax_settings"]), now["jax_settings"])
        require(
            not changes,
            f"{self._root} was started with other settings of JAX: {'; '.join(changes)}. Set them"
            " as they were, or choose another folder with --out",
            RunDirectoryError,
        )
        changes = []
        for part in ("versions", "devices", "git"):
            changes += differences(before.get(part) or {}, now[part] or {}, f"{part}.")
        if changes:
            self._notify(
                "resuming in another environment, so later steps may differ in their last bits: "
                + "; ".join(changes)
            )
        this_start = now | {"launch": launch}
        self._content = {**before, "resumed": [*before.get("resumed", []), this_start]}

    def compare(
        self, dataset: dict[str, Any] | None = None, convolutions: str | None = None
    ) -> None:
        """Check that the run was started on the same data, with the same convolutions.

        Writes nothing.

        Args:
            dataset: identity of the data (name, source, number of examples, hash, preprocessing).
            convolutions: what computes them (`native.convolutions`); the last bits depend on it.

        Raises:
            RunDirectoryError: if they differ.
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

    def record(
        self, dataset: dict[str, Any] | None = None, convolutions: str | None = None
    ) -> None:
        """Compare what a run uses with the notes, and write it down.

        Args:
            dataset: as `compare`.
            convolutions: as `compare`.

        Raises:
            RunDirectoryError: as `compare`.
        """
        self.compare(dataset, convolutions)
        known = {"dataset": dataset, "convolutions": convolutions}
        known = {name: value for name, value in known.items() if value is not None}
        content = self._content | json_values.plain(known, "record")
        if content != self._content or not self._written:
            self._content = content
            self._write()

    def _write(self) -> None:
        if self._fault and self._file.exists():
            self._notify(f"the damaged file is now {records.set_aside(self._file).name}")
        records.write_atomically(self._file, json_values.dumps(self._content, indent=2))
        self._fault = ""
        self._written = True
