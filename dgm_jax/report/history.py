"""The rows of metrics.jsonl as curves over seeds.

A row is `{"step": 200, "arm": "packed2", "modes": [8, 7, null], ...}`: `arm` is missing if there is
only one, and every list of numbers, one for each seed, is a metric. Single numbers (seconds, rates)
are not drawn.
"""

from collections.abc import Sequence

import numpy as np

from dgm_jax.report.statistics import per_seed_values, summarize
from dgm_jax.report.summaries import Nested
from dgm_jax.report.text import clean

_MAX_POINTS = 400
_MAX_STEP = 2**53  # beyond, floats have no integers of their own


def _is_seeds(value) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(v is None or isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
    )


class History:
    """Curves by arm and metric.

    Attributes:
        arms: names, in order of appearance.
        metrics: names, in order of appearance.
        last_step: the largest step; None without rows.
    """

    def __init__(self, rows: list[dict]):
        """Sorts rows by arm, metric and step.

        Args:
            rows: of metrics.jsonl; rows without an integer step are skipped.
        """
        self._values: dict[str, dict[str, dict[int, list]]] = {}
        self.last_step: int | None = None
        for row in rows:
            step = row.get("step")
            arm = str(row.get("arm") or "")
            if not isinstance(step, int) or isinstance(step, bool) or abs(step) >= _MAX_STEP:
                continue
            self.last_step = step if self.last_step is None else max(step, self.last_step)
            metrics = self._values.setdefault(arm, {})
            for name, value in row.items():
                if _is_seeds(value):
                    metrics.setdefault(name, {})[step] = value
        self.arms = list(self._values)
        self.metrics = list(
            dict.fromkeys(name for metrics in self._values.values() for name in metrics)
        )

    def curves(self, names: Sequence[str]) -> tuple[np.ndarray, dict[str, dict[str, np.ndarray]]]:
        """The values of metrics over training.

        Args:
            names: metrics.

        Returns:
            Steps [T], and arm -> metric -> [T, S], NaN where nothing was logged; at most 400 steps
            of each metric.
        """
        kept = {
            (arm, name): _thinned(sorted(metrics[name]))
            for arm, metrics in self._values.items()
            for name in names
            if name in metrics
        }
        steps = sorted({step for chosen in kept.values() for step in chosen})
        place = {step: i for i, step in enumerate(steps)}
        curves: dict[str, dict[str, np.ndarray]] = {arm: {} for arm in self.arms}
        for (arm, name), chosen in kept.items():
            values = self._values[arm][name]
            table = np.full((len(steps), max(len(values[s]) for s in chosen)), np.nan)
            for step in chosen:
                table[place[step], : len(values[step])] = per_seed_values(values[step])
            curves[arm][name] = table
        return np.asarray(steps, np.float64), curves

    def latest(self) -> dict[tuple[str, str], tuple[int, list]]:
        """The last logged values.

        Returns:
            (arm, metric) -> (step, values over seeds).
        """
        return {
            (arm, name): (max(values), values[max(values)])
            for arm, metrics in self._values.items()
            for name, values in metrics.items()
        }

    def describe(self, metric: str) -> str:
        """Describes a curve for readers who cannot see it.

        Args:
            metric: its name.

        Returns:
            A sentence.
        """
        parts = []
        for (arm, name), (step, values) in self.latest().items():
            if name == metric:
                summary = summarize(values)
                mean = (
                    "no finite value" if summary["mean"] is None else f"mean {summary['mean']:.4g}"
                )
                parts.append(
                    f"{clean(arm) + ': ' if arm else ''}{mean} over {summary['num_seeds']} seeds at"
                    f" step {step}"
                )
        shown = parts[:20] + ([f"{len(parts) - 20} more arms"] if parts[20:] else [])
        return (
            f"{clean(metric)} against training step, with every seed and the mean over seeds."
            f" {'; '.join(shown)}."
        )


def _thinned(steps: list[int]) -> list[int]:
    """At most 400 of the steps, evenly chosen, with the first and the last one."""
    if len(steps) <= _MAX_POINTS:
        return steps
    return [
        steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, _MAX_POINTS).round().astype(int))
    ]


def latest_metrics(history: History) -> Nested:
    """Summarizes the last logged values.

    Args:
        history: the logged rows.

    Returns:
        {arm: {metric: summary}}.
    """
    metrics: Nested = {arm: {} for arm in history.arms}
    for (arm, name), (_, values) in history.latest().items():
        metrics[arm][name] = summarize(values)
    return metrics
