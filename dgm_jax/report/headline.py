"""The tables of the report by arm: headline values with the best ones marked, and all metrics."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from dgm_jax.report.display import Display
from dgm_jax.report.summaries import Nested
from dgm_jax.report.text import aligned, interval, is_number, number

_SHOWN = (
    "mean",
    "standard_error",
    "interval_95",
    "interquartile_mean",
    "bootstrap_95",
    "per_seed",
)


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
        for _, cells in self.rows:
            if any(cell is not None and cell.best for cell in cells):
                return True
        return False


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
        arm = str(row.get("arm"))
        metric = str(row.get("metric"))
        by_place.setdefault((arm, metric), []).append(row)
    best = {name: _best(metrics, name, display.better.get(name)) for name in names}
    rows = []
    for arm in arms_in_order(metrics, display):
        cells = []
        for name in names:
            summary = metrics[arm].get(name)
            published_rows = by_place.get((arm, name), [])
            cells.append(_cell(summary, best[name], published_rows))
        rows.append((arm, cells))
    columns = [_column(metrics, display, name) for name in names]
    rank, _ = display.ranking(metrics)
    ranked_by = rank if len(rows) > 1 else None
    return Matrix(columns, rows, ranked_by)


def _column(metrics: Nested, display: Display, name: str) -> Column:
    levels = display.level(metrics, name)
    level_texts = [f"{text} {number(value)}" for text, value in levels.items()]
    return Column(
        name=name,
        explanation=display.explanations.get(name, ""),
        better=display.better.get(name, ""),
        level=", ".join(level_texts),
    )


def _cell(summary: dict | None, best: float | None, published: list[dict]) -> Cell | None:
    if summary is None:
        return None
    per_seed = _per_seed(summary)
    count = sum(v is not None for v in per_seed)
    seeds = str(count)
    if count != len(per_seed):
        seeds += f" of {len(per_seed)}"
    mean = summary.get("mean")
    is_best = best is not None and is_number(mean) and mean == best
    return Cell(mean, summary.get("interval_95"), seeds, is_best, published)


def _per_seed(summary: dict) -> list:
    """The values of seeds; none if the summary has no list of them."""
    per_seed = summary.get("per_seed")
    return per_seed if isinstance(per_seed, list) else []


def _means(metrics: Nested, name: str) -> dict[str, float]:
    """{arm: mean} of the arms that have a mean."""
    means = {}
    for arm, summaries in metrics.items():
        mean = summaries.get(name, {}).get("mean")
        if is_number(mean):
            means[arm] = mean
    return means


def _best(metrics: Nested, name: str, better: str | None) -> float | None:
    """The best mean; None without a direction, or if all arms are equal."""
    means = _means(metrics, name).values()
    if better is None or len(set(means)) < 2:
        return None
    if better == "higher":
        return max(means)
    return min(means)


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
    place = lambda arm: (arm not in means, sign * means.get(arm, 0.0))
    return sorted(metrics, key=place)


def metric_groups(metrics: Nested, display: Display) -> list[dict]:
    """All metrics with the arms that have them, one group a metric.

    The arms of a metric are sorted, best first, if it has a direction. A level of another metric
    is shown beside that metric.

    Args:
        metrics: {arm: {metric: summary}}.
        display: how the metrics are shown.

    Returns:
        [{"name", "explanation", "level", "rows": [{"arm", **summary}]}].
    """
    rows_by_metric = _rows_by_metric(metrics)
    measured = rows_by_metric.keys()
    placed = {level for name, level in display.levels.items() if {name, level} <= measured}
    groups = []
    for name, rows in rows_by_metric.items():
        if name in placed:
            continue
        if display.better.get(name):
            order = arms_in_order(metrics, display, name)
            places = {arm: place for place, arm in enumerate(order)}
            rows = sorted(rows, key=lambda row: places[row["arm"]])
        level = display.levels.get(name)
        level_text = ""
        if level in placed:
            level_text = _level_text(rows_by_metric[level], level)
        explanation = display.explanations.get(name, "")
        groups.append({"name": name, "explanation": explanation, "rows": rows, "level": level_text})
    return groups


def _rows_by_metric(metrics: Nested) -> dict[str, list[dict]]:
    """{metric: [{"arm", **summary}]} with what is shown of a summary."""
    rows_by_metric: dict[str, list] = {}
    for arm, summaries in metrics.items():
        for metric, summary in summaries.items():
            row = {key: summary.get(key) for key in _SHOWN}
            row["arm"] = arm
            row["per_seed"] = _per_seed(summary)
            row["num_seeds"] = sum(v is not None for v in row["per_seed"])
            rows_by_metric.setdefault(metric, []).append(row)
    return rows_by_metric


def _level_text(rows: list[dict], name: str) -> str:
    """`perfect_valid: vanilla 0.9889 [0.987, 0.991]`, with a part for each of at most five arms."""
    parts = []
    for row in rows:
        mean = number(row["mean"])
        spread = interval(row["interval_95"])
        parts.append(f"{row['arm']} {mean} {spread}")
    text = "; ".join(parts[:5])
    if len(parts) > 5:
        text += "; …"
    return f"{name}: {text}"


def format_matrix(found: Matrix) -> str:
    """The headline table as text for a terminal.

    Args:
        found: the table.

    Returns:
        A line for each arm, with the mean and the interval of each headline value.
    """
    names = [column.name for column in found.columns]
    rows = [["arm", *names]]
    for arm, cells in found.rows:
        texts = map(_cell_text, cells)
        rows.append([arm, *texts])
    table = aligned(rows)
    if found.marked:
        table += "\n* best mean of its column"
    return table


def _cell_text(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    text = number(cell.mean, "-")
    spread = interval(cell.interval, "-")
    if spread != "-":
        text += f" {spread}"
    return f"* {text}" if cell.best else text
