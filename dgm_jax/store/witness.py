"""A run folder as the processes see it that do not write it."""

import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from dgm_jax.store.directory import RunDirectory
from dgm_jax.store.reading import CHECKPOINTS, FIGURES, MODELS

FACTS = ("run_id", "parent", "resumed", "finished")  # what process 0 tells the others


class Witness(RunDirectory):
    """The run folder of another process: every method for writing does nothing.

    Attributes:
        writes: False.
    """

    writes = False

    def __init__(
        self, path: pathlib.Path, experiment: str, config: dict[str, Any], facts: dict[str, Any]
    ) -> None:
        """Stand for the folder of process 0.

        Args:
            path: the folder, which need not exist on this machine.
            experiment: name of the experiment.
            config: its settings.
            facts: the owner's attributes that `FACTS` names.
        """
        self.path = path
        self.experiment = experiment
        self.config = config
        self.figures = path / FIGURES
        self.checkpoints = path / CHECKPOINTS
        self.models = path / MODELS
        vars(self).update({name: facts[name] for name in FACTS})

    def compare(
        self, dataset: dict[str, Any] | None = None, convolutions: str | None = None
    ) -> None:
        """Leave the check to the owner."""

    def record(
        self, dataset: dict[str, Any] | None = None, convolutions: str | None = None
    ) -> None:
        """Leave the note to the owner."""

    def append_row(self, row: dict[str, Any]) -> None:
        """Leave the row to the owner."""

    def read_rows(self) -> list[dict[str, Any]]:
        """Return no rows, for the owner looks after them."""
        return []

    def settle_rows(
        self,
        arms: Collection[str],
        logged: Mapping[str, Collection[int]],
        known: Sequence[dict[str, Any]] = (),
    ) -> list[str]:
        """Leave the rows to the owner, and have nothing to say."""
        del arms, logged, known
        return []

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Leave the summary to the owner."""

    def save_figure(self, name: str, figure: Any, caption: str = "") -> pathlib.Path:
        """Leave the picture to the owner; returns its path there."""
        del figure, caption
        return self.figures / f"{name}.png"

    def forget(self) -> None:
        """Leave the folder to the owner."""

    def close(self) -> None:
        """Nothing is open."""
