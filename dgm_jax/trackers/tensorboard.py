"""TensorBoard: event files in the run folder, one TensorBoard run for each arm."""

import importlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import PIL.Image

from dgm_jax.store.records import safe_name
from dgm_jax.trackers.contract import Picture, Record, TrackedRun, by_seed
from dgm_jax.trackers.mark import Mark

FOLDER = "tensorboard"


class TensorBoard:
    """Writes FOLDER/tensorboard/ARM; `tensorboard --logdir FOLDER` shows it.

    The arms are lines of one chart, METRIC/mean, and the values of each seed of METRIC/seed_I.
    """

    def start(self, run: TrackedRun, notify: Callable[[str], None]) -> int:
        """Find out how far the event files of the run folder reach.

        Args:
            run: what is tracked.
            notify: not used.

        Returns:
            `total_step` of the last record.
        """
        self._writer_of = importlib.import_module("tensorboardX").SummaryWriter
        self._root = run.folder / FOLDER
        self._mark = Mark(self._root)
        self._writers: dict[str, Any] = {}
        last = self._mark.read()
        if last < 0:
            settings = json.dumps(run.settings, indent=2)
            self._writer("").add_text("settings", f"```\n{settings}\n```")
        return last

    def log(self, record: Record) -> None:
        """Append the values to the event files of their arms, and flush these.

        Args:
            record: steps and values.
        """
        self._mark.write(record.total_step)
        for arm, metrics in record.values.items():
            writer = self._writer(arm)
            for metric, per_seed in metrics.items():
                for name, value in by_seed(per_seed).items():
                    writer.add_scalar(f"{metric}/{name}", value, record.step)
            writer.flush()

    def picture(self, picture: Picture) -> None:
        """Append a plot to the event file of its arm, or of the run.

        Args:
            picture: the plot.
        """
        with PIL.Image.open(picture.path) as image:
            pixels = np.asarray(image.convert("RGB"))
        writer = self._writer(picture.arm)
        writer.add_image(picture.name, pixels, picture.step, dataformats="HWC")
        writer.flush()

    def end(self, status: str, summary: Mapping[str, float]) -> None:
        """Write the result as a table of text, and close the files.

        Args:
            status: of the run.
            summary: {"ARM/METRIC": mean over seeds}.
        """
        if summary:
            rows = "".join(f"| {name} | {value:.6g} |\n" for name, value in summary.items())
            table = f"| value | mean over seeds |\n| --- | --- |\n{rows}"
            self._writer("").add_text("summary", table)
        for writer in self._writers.values():
            writer.close()

    def _writer(self, arm: str) -> Any:
        """The writer of an arm, or of the run for ""."""
        if arm not in self._writers:
            folder = self._root / safe_name(arm) if arm else self._root
            suffix = f".{time.time_ns()}"  # two files of one second would have one name
            self._writers[arm] = self._writer_of(str(folder), filename_suffix=suffix)
        return self._writers[arm]
