"""Pictures of a run folder, with their captions."""

import io
import pathlib
from collections.abc import Callable

from dgm_jax.core import RunDirectoryError, json_values
from dgm_jax.store import records
from dgm_jax.store.reading import CAPTIONS, FIGURES


class Figures:
    """figures/NAME.png and figures/captions.json, which is written anew where it is damaged."""

    def __init__(self, root: pathlib.Path, notify: Callable[[str], None]):
        self._root, self._notify = root, notify
        self._captions: dict[str, str] | None = None

    def save(self, name: str, figure, caption: str) -> pathlib.Path:
        """Saves a matplotlib `Figure` under a safe name, and its caption; returns the path."""
        picture = io.BytesIO()
        figure.savefig(picture, format="png", metadata={"Software": None})
        name = records.safe_name(name)
        path = records.contained(self._root, self._root / FIGURES / f"{name}.png")
        captions = {**self._before(), name: str(caption)}
        records.write_atomically(path.with_name(CAPTIONS), json_values.dumps(captions, indent=2))
        records.write_atomically(path, picture.getvalue())
        self._captions = captions
        return path

    def _before(self) -> dict[str, str]:
        """The captions so far, from the file where this is the first picture of the process."""
        if self._captions is None:
            file, self._captions = self._root / FIGURES / CAPTIONS, {}
            try:
                if file.exists():
                    self._captions = {k: str(v) for k, v in records.read_json(file).items()}
            except RunDirectoryError as error:
                self._notify(f"{error}: it is now {records.set_aside(file).name}")
        return self._captions
