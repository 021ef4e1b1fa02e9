"""trackio: one run, whose name has a part of the run folder's id."""

import importlib
from collections.abc import Callable, Mapping

from dgm_jax.trackers.contract import TOTAL_STEP, Picture, Record, TrackedRun
from dgm_jax.trackers.mark import Mark

FOLDER = "trackio"  # below the run folder, for the mark; the tool has its own place for the rest


class Trackio:
    """Logs to the tool's own folder, or to where its environment variables say.

    The project is the experiment's name. The tool's step, which grows, is `Record.total_step`;
    `arm_step` is that of the arm.
    """

    def start(self, run: TrackedRun, notify: Callable[[str], None]) -> int:
        """Begin or continue the run.

        Args:
            run: what is tracked.
            notify: not used.

        Returns:
            `total_step` of the last record.
        """
        self._trackio = importlib.import_module("trackio")
        self._mark = Mark(run.folder / FOLDER)
        last = self._mark.read()
        self._run = self._trackio.init(
            project=run.experiment,
            name=f"{run.name}-{run.run_id[:6]}",
            config=run.settings,
            resume="allow",
            embed=False,
        )
        return last

    def log(self, record: Record) -> None:
        """Log the values of a step.

        Args:
            record: steps and values.
        """
        self._mark.write(record.total_step)
        values = {"arm_step": record.step, TOTAL_STEP: record.total_step, **record.named()}
        self._run.log(values, step=record.total_step)

    def picture(self, picture: Picture) -> None:
        """Log a plot.

        Args:
            picture: the plot.
        """
        image = self._trackio.Image(picture.path, caption=picture.caption)
        self._run.log({picture.title: image}, step=picture.total_step)

    def end(self, status: str, summary: Mapping[str, float]) -> None:
        """Log the summary as values of their own, and finish the run.

        Args:
            status: not used: the tool knows none.
            summary: {"ARM/METRIC": mean over seeds}.
        """
        if summary:
            self._run.log({f"final/{name}": value for name, value in summary.items()})
        self._run.finish()
