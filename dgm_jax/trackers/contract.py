"""What a tracker gets from a run, and what it does with it."""

import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

TOTAL_STEP = "total_step"  # the name under which trackers show `Record.total_step`


class TrackedRun(NamedTuple):
    """A run as trackers know it.

    Attributes:
        run_id: its random name; a run that continues has the same one.
        experiment: name of the experiment.
        name: for people, as the run folder is called.
        folder: the run folder.
        settings: JSON values by name.
    """

    run_id: str
    experiment: str
    name: str
    folder: pathlib.Path
    settings: dict[str, Any]


class Record(NamedTuple):
    """The values of one logged step.

    Attributes:
        step: number of training steps.
        total_step: the same plus the steps of all arms that were trained before; it grows from
            record to record, so a tracker's last one says how far it has come.
        values: {arm: {metric: [S]}}, None or NaN for a seed that has failed.
    """

    step: int
    total_step: int
    values: Mapping[str, Mapping[str, Sequence[float | None]]]

    def named(self) -> dict[str, float]:
        """The values by names that trackers group by their slashes.

        Returns:
            {"ARM/METRIC/mean": mean over the seeds that have not failed, "ARM/METRIC/seed_0": ...}.
        """
        return {
            f"{arm}/{metric}/{name}": value
            for arm, metrics in self.values.items()
            for metric, per_seed in metrics.items()
            for name, value in by_seed(per_seed).items()
        }


class Picture(NamedTuple):
    """A plot that the run has saved.

    Attributes:
        name: of the plot.
        path: of the PNG file.
        caption: a sentence.
        step: number of training steps.
        total_step: as in `Record`.
        arm: whose plot it is; "" for one of all arms.
    """

    name: str
    path: pathlib.Path
    caption: str
    step: int
    total_step: int
    arm: str = ""

    @property
    def title(self) -> str:
        """The name under which a tracker shows it: `ARM/NAME`, or `NAME`."""
        return f"{self.arm}/{self.name}" if self.arm else self.name


class Tracker(Protocol):
    """A tool that shows runs. All calls come from one thread; what they raise drops the tracker."""

    def start(self, run: TrackedRun, notify: Callable[[str], None]) -> int:
        """Begin a run, or continue it if the tool knows its `run_id`.

        Args:
            run: what is tracked.
            notify: shows a sentence to the user.

        Returns:
            `total_step` of the last record that the tool has, -1 if it has none. Earlier records
            are not logged again.
        """
        ...

    def log(self, record: Record) -> None:
        """Log the values of a step.

        Args:
            record: steps and values.
        """
        ...

    def picture(self, picture: Picture) -> None:
        """Log a plot; those of a step come before its values.

        Args:
            picture: the plot.
        """
        ...

    def end(self, status: str, summary: Mapping[str, float]) -> None:
        """End the run; it may continue later in another process.

        Args:
            status: "finished", "failed" or "stopped".
            summary: {"ARM/METRIC": mean over seeds} of a finished run, otherwise empty.
        """
        ...


def by_seed(per_seed: Sequence[float | None]) -> dict[str, float]:
    """The mean over seeds and the value of each seed.

    Args:
        per_seed: [S], None or NaN for a seed that has failed.

    Returns:
        {"mean": m, "seed_0": x, ...} without the seeds that have failed; empty if all have.
    """
    values = {f"seed_{i}": float(x) for i, x in enumerate(per_seed) if x is not None}
    values = {name: x for name, x in values.items() if math.isfinite(x)}
    if not values:
        return {}
    return {"mean": math.fsum(values.values()) / len(values), **values}
