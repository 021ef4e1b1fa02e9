"""The metrics of a run by arm, and their names in summary.json.

In memory they are `{arm: {metric: summary}}`, and rows about a metric have `"arm"` and `"metric"`.
summary.json has one name for both: `arm/metric` with several arms, `metric` with one. Only this
module joins and splits these names.
"""

from collections.abc import Iterable, Mapping
from typing import Any

Nested = dict[str, dict[str, Any]]


def flat_name(arm: str, metric: str, several: bool) -> str:
    """The name of an arm's metric in summary.json.

    Args:
        arm: its name.
        metric: its name.
        several: whether the run has several arms.

    Returns:
        `arm/metric`, or `metric` in a run of one arm.
    """
    return f"{arm}/{metric}" if several and arm else metric


def split_name(name: str, arms: Iterable[str]) -> tuple[str, str]:
    """Splits a name in summary.json into arm and metric.

    Names of arms such as `torus/avb` contain slashes, so the longest arm that fits is taken.

    Args:
        name: as `flat_name` makes it.
        arms: all arms of the run. With one, the whole name is the metric's.

    Returns:
        The two names; the arm is empty if no arm fits.
    """
    arms = list(arms)
    if len(arms) == 1:
        return arms[0], name
    for arm in sorted(arms, key=len, reverse=True):
        if arm and name.startswith(f"{arm}/"):
            return arm, name[len(arm) + 1 :]
    return "", name


def flattened(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The content of summary.json.

    Args:
        summary: with `"metrics"` by arm, and rows of `"reference"` that have an arm and a metric.

    Returns:
        The same with one name for arm and metric.
    """
    several = len(summary["metrics"]) > 1
    metrics = {}
    for arm, summaries in summary["metrics"].items():
        for metric, value in summaries.items():
            name = flat_name(arm, metric, several)
            metrics[name] = value
    reference = []
    for row in summary.get("reference", ()):
        flat_row = {k: v for k, v in row.items() if k != "arm"}
        flat_row["metric"] = flat_name(row["arm"], row["metric"], several)
        reference.append(flat_row)
    return {**summary, "metrics": metrics, "reference": reference}


def nested(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flattened`: the content of summary.json with metrics by arm.

    Args:
        summary: the content of summary.json.

    Returns:
        The same with metrics by arm, and `"arm"` in the rows of `"reference"`. Malformed entries,
        in a file that was edited, are left out.
    """
    arms = [str(arm) for arm in _list(summary.get("arms"))]
    metrics: Nested = {arm: {} for arm in arms}
    flat = summary.get("metrics")
    if not isinstance(flat, dict):
        flat = {}
    for name, value in flat.items():
        arm, metric = split_name(name, arms)
        if isinstance(value, dict):
            metrics.setdefault(arm, {})[metric] = _sound(value)
    reference = []
    for row in _list(summary.get("reference")):
        if isinstance(row, dict):
            name = str(row.get("metric", ""))
            arm, metric = split_name(name, arms)
            reference.append({**row, "arm": arm, "metric": metric})
    return {**summary, "arms": arms, "metrics": metrics, "reference": reference}


def _sound(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary; without the values of seeds if one of them is neither a number nor None."""
    values = summary.get("per_seed", [])
    if isinstance(values, list) and all(_is_seed(value) for value in values):
        return summary
    return {**summary, "per_seed": []}


def _is_seed(value) -> bool:
    """Whether this is a number or None."""
    return type(value) in (int, float, type(None))


def _list(value) -> list:
    return value if isinstance(value, list) else []
