"""The first table of the report: arms by headline values, with the best ones marked."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from dgm_jax.report.display import Display
from dgm_jax.report.summaries import Nested
from dgm_jax.report.text import aligned, interval, is_number, number


class Cell(NamedTuple):
    """One value of the table.

    Attributes:
        mean: over seeds.
        interval: 95 % interval of the mean.
        seeds: the number of seeds, as text.
        best: whether no other arm is better.
        published: rows of published values.
    """

    mean: Any
    interval: Any
    seeds: str
    best: bool
    published: list[dict]


class Column(NamedTuple):
    """A metric of the table.

    Attributes:
        name: the metric.
        explanation: a sentence, or "".
        better: "higher", "lower" or "".
        level: the text of its level.
    """

    name: str
    explanation: str
    better: str
    level: str


class Matrix(NamedTuple):
    """The table.

    Attributes:
        columns: the metrics.
        rows: (arm, [Cell or None]) in the order of `ranked_by`, best first, or in the order of
            training.
        ranked_by: the metric that ranks the arms; None without a ranking.
    """

    columns: list[Column]
    rows: list[tuple[str, list[Cell | None]]]
    ranked_by: str | None

    @property
    def marked(self) -> bool:
        """Whether any cell is the best of its column."""
        return any(cell is not None and cell.best for _, cells in self.rows for cell in cells)


def matrix(metrics: Nested, display: Display, published: Iterable[dict] = ()) -> Matrix | None:
    """The headline table of a run.

    Args:
        metrics: {arm: {metric: summary}}.
        display: how the experiment's metrics are shown.
        published: rows of `statistics.compare_with_reference`.

    Returns:
        The table, or None if nothing was measured.
    """
    names = display.columns(metrics)
    if not names:
        return None
    by_place: dict[tuple[str, str], list[dict]] = {}
    for row in published:
        place = (str(row.get("arm")), str(row.get("metric")))
        by_place.setdefault(place, []).append(row)
    best = {name: _best(metrics, name, display.better.get(name)) for name in names}
    rank, _ = display.ranking(metrics)
    rows = []
    for arm in arms_in_order(metrics, display):
        cells = [
            _cell(metrics[arm].get(name), best[name], by_place.get((arm, name), []))
            for name in names
        ]
        rows.append((arm, cells))
    columns = [_column(metrics, display, name) for name in names]
    return Matrix(columns, rows, rank if len(rows) > 1 else None)


def _column(metrics: Nested, display: Display, name: str) -> Column:
    levels = display.level(metrics, name).items()
    level = ", ".join(f"{text} {number(value)}" for text, value in levels)
    return Column(name, display.explanations.get(name, ""), display.better.get(name, ""), level)


def _cell(summary: dict | None, best: float | None, published: list[dict]) -> Cell | None:
    if summary is None:
        return None
    per_seed = summary.get("per_seed")
    per_seed = per_seed if isinstance(per_seed, list) else []
    count = sum(v is not None for v in per_seed)
    seeds = str(count) if count == len(per_seed) else f"{count} of {len(per_seed)}"
    mean = summary.get("mean")
    marked = best is not None and is_number(mean) and mean == best
    return Cell(mean, summary.get("interval_95"), seeds, marked, published)


def _means(metrics: Nested, name: str) -> dict[str, float]:
    means = {arm: summaries.get(name, {}).get("mean") for arm, summaries in metrics.items()}
    return {arm: mean for arm, mean in means.items() if is_number(mean)}


def _best(metrics: Nested, name: str, better: str | None) -> float | None:
    """The best mean; None without a direction, or if all arms are equal."""
    means = _means(metrics, name).values()
    if better is None or len(set(means)) < 2:
        return None
    return max(means) if better == "higher" else min(means)


def arms_in_order(metrics: Nested, display: Display, metric: str | None = None) -> list[str]:
    """The arms of a run, best first.

    Args:
        metrics: {arm: {metric: summary}}.
        display: how the metrics are shown.
        metric: the metric to sort by; by default the one that ranks the run.

    Returns:
        Names of arms, those without a mean last; in the order of training if no metric ranks them.
    """
    rank, higher = display.ranking(metrics)
    if metric is not None:
        rank = metric
        higher = display.better.get(metric) == "higher"
    if not rank:
        return list(metrics)
    means = _means(metrics, rank)
    sign = -1 if higher else 1
    return sorted(metrics, key=lambda arm: (arm not in means, sign * means.get(arm, 0.0)))


def format_matrix(found: Matrix) -> str:
    """The headline table as text for a terminal.

    Args:
        found: the table.

    Returns:
        A line for each arm, with the mean and the interval of each headline value.
    """
    rows = [["arm", *(column.name for column in found.columns)]]
    for arm, cells in found.rows:
        rows.append([arm, *map(_cell_text, cells)])
    note = "\n* best mean of its column" if found.marked else ""
    return aligned(rows) + note


def _cell_text(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    spread = interval(cell.interval, "-")
    text = number(cell.mean, "-")
    if spread != "-":
        text += f" {spread}"
    return f"* {text}" if cell.best else text
