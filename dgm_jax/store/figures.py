"""The plots of a run folder, with their captions."""

import io
import pathlib
from collections.abc import Callable
from typing import Any

from dgm_jax.core import RunDirectoryError, json_values
from dgm_jax.store import records
from dgm_jax.store.reading import CAPTIONS, FIGURES


class Figures:
    """Writes figures/NAME.png and figures/captions.json, which is replaced if it is damaged."""

    def __init__(self, root: pathlib.Path, notify: Callable[[str], None]) -> None:
        self._root = root
        self._notify = notify
        self._captions: dict[str, str] | None = None

    def save(self, name: str, figure: Any, caption: str) -> pathlib.Path:
        """Save a plot and its caption.

        Args:
            name: it is changed to a safe file name if necessary.
            figure: a matplotlib `Figure`.
            caption: a sentence for the report.

        Returns:
            Path of the file.
        """
        png = io.BytesIO()
        figure.savefig(png, format="png", metadata={"Software": None})
        name = records.safe_name(name)
        path = records.contained(self._root, self._root / FIGURES / f"{name}.png")
        captions = {**self._captions_so_far(), name: str(caption)}
        records.write_atomically(path.with_name(CAPTIONS), json_values.dumps(captions, indent=2))
        records.write_atomically(path, png.getvalue())
        self._captions = captions
        return path

    def _captions_so_far(self) -> dict[str, str]:
        """The captions, read from the file for the first plot of this process."""
        if self._captions is None:
            file = self._root / FIGURES / CAPTIONS
            self._captions = {}
            try:
                if file.exists():
                    self._captions = {k: str(v) for k, v in records.read_json(file).items()}
            except RunDirectoryError as error:
                self._notify(f"{error}: it is now {records.set_aside(file).name}")
        return self._captions
