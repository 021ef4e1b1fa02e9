"""What a run hands to trackers, which may fail, hang or be slow without effect."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dgm_jax.core import require
from dgm_jax.run.cells import Group
from dgm_jax.run.experiment import Experiment
from dgm_jax.store.directory import RunDirectory
from dgm_jax.terminal import console
from dgm_jax.trackers import TRACKERS, Picture, Record, TrackedRun, Tracker, Trackers

END_SECONDS = 30.0  # that a finished run waits for its trackers
STOP_SECONDS = 2.0  # that a run waits which was stopped or has failed


class Tracking:
    """The trackers of a run.

    Args:
        makers: as `makers_of` returns them.
        order: the groups of arms, in the order in which they are trained.
        num_steps: of each arm.
        directory: the run folder.
        notify: shows a sentence.
    """

    def __init__(
        self,
        makers: Mapping[str, Callable[[], Tracker]],
        order: Sequence[Group],
        num_steps: int,
        directory: RunDirectory,
        notify: Callable[[str], None],
    ):
        self._place = {arm.name: i for i, group in enumerate(order) for arm in group.arms}
        self._num_steps = num_steps
        self._end = len(order) * num_steps
        self._directory = directory
        folder = directory.path.absolute()
        run = TrackedRun(
            directory.run_id, directory.experiment, folder.name, folder, dict(directory.config)
        )
        self._trackers = Trackers(makers, run, self._history, notify)

    def log(self, rows: Sequence[dict[str, Any]]) -> None:
        """Logs the rows of a step; to be called after its checkpoint is saved.

        Args:
            rows: one for each arm of a group.
        """
        for record in self._records(rows):
            self._trackers.log(record)

    def picture(
        self, name: str, path: pathlib.Path, caption: str, step: int = 0, arm: str = ""
    ) -> None:
        """Logs a plot.

        Args:
            name: of the plot.
            path: of the PNG file.
            caption: a sentence.
            step: number of steps made.
            arm: whose plot it is; "" for a final plot of the run.
        """
        total = self._total(arm, step) if arm else self._end + 1
        self._trackers.picture(
            Picture(name, path, caption, step or self._num_steps, total, arm=arm)
        )

    def finish(self, summary: dict[str, Any], diverged: bool) -> None:
        """Ends a finished run, and waits for the trackers up to `END_SECONDS`.

        Args:
            summary: of the run.
            diverged: whether every seed has failed.
        """
        means = {
            f"{arm}/{metric}": statistics["mean"]
            for arm, metrics in summary["metrics"].items()
            for metric, statistics in metrics.items()
            if statistics["mean"] is not None
        }
        self._trackers.end("failed" if diverged else "finished", END_SECONDS, means)

    def abandon(self, stopped: bool) -> None:
        """Ends a run that was stopped or has failed, unless it was ended before.

        Args:
            stopped: whether by a signal.
        """
        self._trackers.end("stopped" if stopped else "failed", STOP_SECONDS)

    @property
    def unfinished(self) -> bool:
        """Whether a tracker was dropped, and may still hang."""
        return self._trackers.unfinished

    def _total(self, arm: str, step: int) -> int:
        return self._place[arm] * self._num_steps + step

    def _history(self) -> list[Record]:
        """The records of metrics.jsonl."""
        return self._records(self._directory.read_rows())

    def _records(self, rows: Sequence[dict[str, Any]]) -> list[Record]:
        """The records of rows, in the order of their total steps."""
        by_total: dict[int, Record] = {}
        for row in rows:
            arm = row.get("arm")
            step = row.get("step")
            if not isinstance(arm, str) or arm not in self._place or not isinstance(step, int):
                continue  # a damaged row
            total = self._total(arm, step)
            record = by_total.setdefault(total, Record(step, total, {}))
            values = {n: v for n, v in row.items() if isinstance(v, list)}
            by_total[total] = record._replace(values={**record.values, arm: values})
        return [by_total[total] for total in sorted(by_total)]


def makers_of(experiment: Experiment, names: Sequence[str]) -> dict[str, Callable[[], Tracker]]:
    """Looks up the trackers of a run.

    Args:
        experiment: of the run, with its own trackers.
        names: of `trackers.TRACKERS`.

    Returns:
        {name: function that returns a tracker}.

    Raises:
        ConfigError: one of the experiment's own has the name of another.
    """
    taken = sorted(set(experiment.trackers) & set(TRACKERS))
    require(not taken, f"{experiment.name} has a tracker of its own named {taken}: rename it")
    return {name: TRACKERS[name].make for name in names} | experiment.trackers


@contextlib.contextmanager
def tracked(
    makers: Mapping[str, Callable[[], Tracker]],
    order: Sequence[Group],
    num_steps: int,
    directory: RunDirectory,
    notify: Callable[[str], None],
) -> Iterator[Tracking]:
    """Tracks a run inside a context.

    Where a tracker was dropped, the process ends with its command without waiting for it.

    Args:
        makers: as of `Tracking`, like the other arguments.
        order: the groups of arms.
        num_steps: of each arm.
        directory: the run folder.
        notify: shows a sentence.

    Yields:
        The trackers.
    """
    tracking = Tracking(makers, order, num_steps, directory, notify)
    try:
        yield tracking
    except BaseException as error:
        tracking.abandon(stopped=isinstance(error, KeyboardInterrupt))
        raise
    finally:
        if tracking.unfinished:
            console.leave_threads_behind()
