"""MLflow: one run, found again by a tag."""

import importlib
import re
import time
from collections.abc import Callable, Mapping

from dgm_jax.core import json_values
from dgm_jax.trackers.contract import TOTAL_STEP, Picture, Record, TrackedRun

TAG = "dgm_jax.run_id"
STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
_LONGEST_PARAM = 500  # characters that every store takes
_LARGEST_BATCH = 1000  # metrics that a server takes at once
_SAID_OTHERWISE = str.maketrans("=,", ": ")  # neither may stand in the name of a metric


class Mlflow:
    """Logs to the tracking store of the user's settings (MLFLOW_TRACKING_URI)."""

    def start(self, run: TrackedRun, notify: Callable[[str], None]) -> int:
        """Begin a run in the experiment of the same name, or continue the one with its tag.

        Args:
            run: what is tracked.
            notify: not used.

        Returns:
            `total_step` of the last record.
        """
        self._entities = importlib.import_module("mlflow.entities")
        self._client = importlib.import_module("mlflow").MlflowClient()
        experiment_id = self._experiment_id(run.experiment)
        query = f"tags.`{TAG}` = '{run.run_id}'"
        earlier_runs = self._client.search_runs([experiment_id], query, max_results=1)
        if earlier_runs:
            earlier = earlier_runs[0]
            self._id = earlier.info.run_id
            self._client.update_run(self._id, status="RUNNING")
            last_step = earlier.data.metrics.get(TOTAL_STEP, -1)
            return int(last_step)
        tags = {TAG: run.run_id}
        created = self._client.create_run(experiment_id, tags=tags, run_name=run.name)
        self._id = created.info.run_id
        params = []
        for name, value in run.settings.items():
            text = str(value)[:_LONGEST_PARAM]
            params.append(self._entities.Param(name, text))
        self._client.log_batch(self._id, params=params)
        self._client.log_dict(self._id, dict(run.settings), "settings.json")
        return -1

    def _experiment_id(self, name: str) -> str:
        """The id of the experiment of that name, which is created if there is none."""
        experiment = self._client.get_experiment_by_name(name)
        if experiment:
            return experiment.experiment_id
        return self._client.create_experiment(name)

    def log(self, record: Record) -> None:
        """Log the values of a step; `total_step`, the last one, says that all are there.

        Args:
            record: steps and values.
        """
        now = time.time_ns() // 1_000_000
        values = {metric_name(name): value for name, value in record.named().items()}
        metric = self._entities.Metric
        metrics = [metric(name, value, now, record.step) for name, value in values.items()]
        last = metric(TOTAL_STEP, record.total_step, now, record.total_step)
        metrics.append(last)
        for first in range(0, len(metrics), _LARGEST_BATCH):
            batch = metrics[first : first + _LARGEST_BATCH]
            self._client.log_batch(self._id, metrics=batch)

    def picture(self, picture: Picture) -> None:
        """Copy a plot to the run's artifacts.

        Args:
            picture: the plot.
        """
        self._client.log_artifact(self._id, str(picture.path), "figures")

    def end(self, status: str, summary: Mapping[str, float]) -> None:
        """Add the summary as an artifact, and set the run's status.

        Args:
            status: of the run.
            summary: {"ARM/METRIC": mean over seeds}.
        """
        if summary:
            text = json_values.dumps(summary, indent=2)
            self._client.log_text(self._id, text, "summary.json")
        self._client.set_terminated(self._id, STATUS[status])


def metric_name(name: str) -> str:
    """A name that MLflow takes.

    Args:
        name: of a value.

    Returns:
        The name with `:` for `=`, a space for `,`, and `_` for every other character that may not
        be in it.
    """
    said_otherwise = name.translate(_SAID_OTHERWISE)
    return re.sub(r"[^\w.:/ -]", "_", said_otherwise, flags=re.ASCII)
