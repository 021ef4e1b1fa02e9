"""What an experiment says about its metrics, as summary.json has it under "display"."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from dgm_jax.report.summaries import Nested
from dgm_jax.report.text import is_number

_FALLBACK = 8  # columns where an experiment has named no headline


class Display(NamedTuple):
    """How the metrics of an experiment are shown.

    headline: metrics in their order. better: metric -> "higher" or "lower". ranges: metric ->
    (least, most) value, None for an open end. levels: metric -> the metric of a perfect sampler
    or a floor. rank_by: a metric by which the arms are ranked, smallest first. explanations:
    metric -> sentence.
    """

    headline: tuple[str, ...] = ()
    better: Mapping[str, str] = {}
    ranges: Mapping[str, tuple] = {}
    levels: Mapping[str, str] = {}
    rank_by: str | None = None
    explanations: Mapping[str, str] = {}

    def columns(self, metrics: Nested) -> list[str]:
        """The headline as far as it was measured, without what is a level of another metric; where
        nothing of it was measured the first eight metrics."""
        measured = dict.fromkeys(name for summaries in metrics.values() for name in summaries)
        plain = [name for name in measured if name not in self.levels.values()]
        return [name for name in self.headline if name in plain] or plain[:_FALLBACK]

    def ranking(self, metrics: Nested) -> tuple[str | None, bool]:
        """(metric, whether higher is better): `rank_by`, else the first of the headline that has a
        direction; None where there is none."""
        measured = {name for summaries in metrics.values() for name in summaries}
        if self.rank_by in measured:
            return self.rank_by, self.better.get(str(self.rank_by)) == "higher"
        for name in self.columns(metrics):
            if name in self.better:
                return name, self.better[name] == "higher"
        return None, False

    def level(self, metrics: Nested, name: str) -> dict[str, float]:
        """{text: value} of a metric's level: one for all arms where they agree to 1 %, else one for
        each of three arms at most; the mean of more than that."""
        source = self.levels.get(name)
        means = {
            arm: found[source].get("mean") for arm, found in metrics.items() if source in found
        }
        means = {arm: float(mean) for arm, mean in means.items() if is_number(mean)}
        if not means:
            return {}
        low, high = min(means.values()), max(means.values())
        if high - low <= 0.01 * max(abs(low), abs(high)) or len(means) > 3:
            return {str(source): sum(means.values()) / len(means)}
        return {f"{source} of {arm}": mean for arm, mean in means.items()}


def display_of(content: Any, explanations: Any = None) -> Display:
    """`Display` of what a file has; entries that are not what they should be are left out."""
    content = _table(content)
    ranges = {
        name: tuple(ends)
        for name, ends in _table(content.get("ranges")).items()
        if isinstance(ends, (list, tuple))
        and len(ends) == 2
        and all(end is None or is_number(end) for end in ends)
    }
    headline = content.get("headline")
    rank = content.get("rank_by")
    return Display(
        headline=tuple(map(str, headline)) if isinstance(headline, (list, tuple)) else (),
        better={
            name: str(way)
            for name, way in _table(content.get("better")).items()
            if way in ("higher", "lower")
        },
        ranges=ranges,
        levels={name: str(other) for name, other in _table(content.get("levels")).items()},
        rank_by=rank if isinstance(rank, str) else None,
        explanations={name: str(text) for name, text in _table(explanations).items()},
    )


def _table(value: Any) -> dict:
    return value if isinstance(value, dict) else {}
