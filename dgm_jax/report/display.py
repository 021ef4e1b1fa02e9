"""What an experiment says about its metrics, as summary.json has it under "display"."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from dgm_jax.report.summaries import Nested
from dgm_jax.report.text import is_number

_FALLBACK = 8  # columns where an experiment has named no headline


class Display(NamedTuple):
    """How the metrics of an experiment are shown.

    Attributes:
        headline: the main metrics, in their order.
        better: metric -> "higher" or "lower".
        ranges: metric -> (least, most) possible value, None for an open end.
        levels: metric -> the metric of a perfect sampler or a floor.
        rank_by: the metric by which the arms are ranked, smallest first.
        explanations: metric -> sentence.
    """

    headline: tuple[str, ...] = ()
    better: Mapping[str, str] = {}
    ranges: Mapping[str, tuple] = {}
    levels: Mapping[str, str] = {}
    rank_by: str | None = None
    explanations: Mapping[str, str] = {}

    def columns(self, metrics: Nested) -> list[str]:
        """Selects the metrics of the first table.

        Args:
            metrics: {arm: {metric: summary}}.

        Returns:
            The headline metrics that were measured, without levels of other metrics; the first
            eight metrics if none of the headline was measured.
        """
        measured = dict.fromkeys(name for summaries in metrics.values() for name in summaries)
        levels = self.levels.values()
        plain = [name for name in measured if name not in levels]
        headline = [name for name in self.headline if name in plain]
        return headline or plain[:_FALLBACK]

    def ranking(self, metrics: Nested) -> tuple[str | None, bool]:
        """Selects the metric by which arms are ranked.

        Args:
            metrics: {arm: {metric: summary}}.

        Returns:
            (metric, whether higher is better): `rank_by`, else the first of the headline that has a
            direction; (None, False) if there is none.
        """
        measured = {name for summaries in metrics.values() for name in summaries}
        if self.rank_by in measured:
            higher = self.better.get(str(self.rank_by)) == "higher"
            return self.rank_by, higher
        for name in self.columns(metrics):
            if name in self.better:
                return name, self.better[name] == "higher"
        return None, False

    def level(self, metrics: Nested, name: str) -> dict[str, float]:
        """The values of a metric's level, to be drawn as lines.

        Args:
            metrics: {arm: {metric: summary}}.
            name: the metric that has the level.

        Returns:
            {text: value}: one value if the arms agree to 1 %, otherwise one for each arm, or the
            mean if there are more than three.
        """
        source = self.levels.get(name)
        means = {}
        for arm, by_metric in metrics.items():
            if source in by_metric:
                mean = by_metric[source].get("mean")
                if is_number(mean):
                    means[arm] = float(mean)
        if not means:
            return {}
        low = min(means.values())
        high = max(means.values())
        largest = max(abs(low), abs(high))
        if high - low <= 0.01 * largest or len(means) > 3:
            mean_of_arms = sum(means.values()) / len(means)
            return {str(source): mean_of_arms}
        return {f"{source} of {arm}": mean for arm, mean in means.items()}


def display_of(content: Any, explanations: Any = None) -> Display:
    """Reads a `Display` from the content of a file.

    Args:
        content: the entry "display" of summary.json.
        explanations: {metric: sentence}.

    Returns:
        The display; malformed entries are left out.
    """
    content = _table(content)
    ranges = {}
    for name, ends in _table(content.get("ranges")).items():
        if _is_range(ends):
            ranges[name] = tuple(ends)
    better = {}
    for name, way in _table(content.get("better")).items():
        if way in ("higher", "lower"):
            better[name] = str(way)
    levels = _table(content.get("levels"))
    headline = content.get("headline")
    if not isinstance(headline, (list, tuple)):
        headline = ()
    rank = content.get("rank_by")
    explanations = _table(explanations)
    return Display(
        headline=tuple(map(str, headline)),
        better=better,
        ranges=ranges,
        levels={name: str(level) for name, level in levels.items()},
        rank_by=rank if isinstance(rank, str) else None,
        explanations={name: str(text) for name, text in explanations.items()},
    )


def _is_range(ends: Any) -> bool:
    """Whether this is a pair of numbers or None."""
    if not isinstance(ends, (list, tuple)) or len(ends) != 2:
        return False
    return all(end is None or is_number(end) for end in ends)


def _table(value: Any) -> dict:
    return value if isinstance(value, dict) else {}
