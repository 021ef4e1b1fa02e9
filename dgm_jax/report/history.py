"""The rows of metrics.jsonl as curves over seeds.

A row is `{"step": 200, "arm": "packed2", "modes": [8, 7, null], ...}`: `arm` is missing if there is
only one, and every list of numbers, one for each seed, is a metric. Single numbers (seconds, rates)
are not drawn.
"""

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np

from dgm_jax.report.statistics import per_seed_values, summarize
from dgm_jax.report.summaries import Nested
from dgm_jax.report.text import clean

Curves = dict[str, dict[str, np.ndarray]]  # arm -> metric -> [T, S]

_MAX_POINTS = 400
_MAX_STEP = 2**53  # beyond, floats have no integers of their own


def _is_seeds(value) -> bool:
    """Whether this is a list of a number or None for each seed."""
    if not isinstance(value, list) or not value:
        return False
    return all(v is None or _is_number(v) for v in value)


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_step(value: Any) -> TypeGuard[int]:
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return is_integer and abs(value) < _MAX_STEP


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
            if not _is_step(step):
                continue
            if self.last_step is None or step > self.last_step:
                self.last_step = step
            metrics = self._values.setdefault(arm, {})
            for name, value in row.items():
                if _is_seeds(value):
                    metrics.setdefault(name, {})[step] = value
        self.arms = list(self._values)
        names = {}
        for metrics in self._values.values():
            names |= dict.fromkeys(metrics)
        self.metrics = list(names)

    def curves(self, names: Sequence[str]) -> tuple[np.ndarray, Curves]:
        """The values of metrics over training.

        Args:
            names: metrics.

        Returns:
            Steps [T], and arm -> metric -> [T, S], NaN where nothing was logged; at most 400 steps
            of each metric.
        """
        kept = {}
        for arm, metrics in self._values.items():
            for name in names:
                if name in metrics:
                    kept[arm, name] = _thinned(sorted(metrics[name]))
        steps = sorted(set().union(*kept.values()))
        places = {step: place for place, step in enumerate(steps)}
        curves: Curves = {arm: {} for arm in self.arms}
        for (arm, name), kept_steps in kept.items():
            values = self._values[arm][name]
            num_seeds = max(len(values[step]) for step in kept_steps)
            table = np.full((len(steps), num_seeds), np.nan)
            for step in kept_steps:
                per_seed = per_seed_values(values[step])
                table[places[step], : len(per_seed)] = per_seed
            curves[arm][name] = table
        return np.asarray(steps, np.float64), curves

    def latest(self) -> dict[tuple[str, str], tuple[int, list]]:
        """The last logged values.

        Returns:
            (arm, metric) -> (step, values over seeds).
        """
        latest = {}
        for arm, metrics in self._values.items():
            for name, values in metrics.items():
                last_step = max(values)
                latest[arm, name] = (last_step, values[last_step])
        return latest

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
                parts.append(_sentence_part(arm, step, values))
        shown = parts[:20]
        if len(parts) > 20:
            shown.append(f"{len(parts) - 20} more arms")
        latest = "; ".join(shown)
        return (
            f"{clean(metric)} against training step, with every seed and the mean over seeds."
            f" {latest}."
        )


def _sentence_part(arm: str, step: int, values: list) -> str:
    """What a chart's sentence says about an arm, of its last logged step."""
    summary = summarize(values)
    mean = "no finite value"
    if summary["mean"] is not None:
        mean = f"mean {summary['mean']:.4g}"
    text = f"{mean} over {summary['num_seeds']} seeds at step {step}"
    return f"{clean(arm)}: {text}" if arm else text


def _thinned(steps: list[int]) -> list[int]:
    """At most 400 of the steps, evenly chosen, with the first and the last one."""
    if len(steps) <= _MAX_POINTS:
        return steps
    places = np.linspace(0, len(steps) - 1, _MAX_POINTS).round().astype(int)
    return [steps[place] for place in np.unique(places)]


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
