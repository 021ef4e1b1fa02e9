"""The result of a run as a table for the terminal."""

from collections.abc import Sequence

from dgm_jax.report.display import display_of
from dgm_jax.report.headline import format_matrix, matrix
from dgm_jax.report.summaries import flat_name
from dgm_jax.report.text import aligned, failed_seed_text, given, interval, number, printed

_WITHIN = {True: "yes", False: "no", None: "-"}


def format_table(summary: dict, headline: Sequence[str] = ()) -> str:
    """Formats the result of a run as plain text for a terminal.

    The columns are metric, mean, standard error, 95 % interval, seeds, published and within.

    Args:
        summary: with `"metrics"` by arm, as `summaries.nested` reads it.
        headline: metrics to show, in this order; all metrics if none of them was measured.

    Returns:
        A line for each metric and arm, and one for each seed that failed.
    """
    published = {(row["arm"], row["metric"]): row for row in summary.get("reference", [])}
    rows = [("metric", "mean", "SE", "95 % interval", "seeds", "published", "within")]
    by_arm = summary["metrics"]
    shown = [(arm, name) for name in headline for arm in by_arm if name in by_arm[arm]]
    measured = [(arm, name) for arm in by_arm for name in by_arm[arm]]
    for arm, name in shown or measured:
        metric = by_arm[arm][name]
        published_text, within = _published_texts(published.get((arm, name)))
        seeds = _seeds_text(metric["per_seed"])
        rows.append(
            (
                flat_name(arm, name, several=len(by_arm) > 1),
                number(metric["mean"], "-"),
                number(metric["standard_error"], "-"),
                interval(metric["interval_95"], "-"),
                seeds,
                published_text,
                within,
            )
        )
    if not published:
        rows = [row[:5] for row in rows]
    lines = [aligned(rows), *_failed(summary)]
    return "\n".join(lines)


def _published_texts(row: dict | None) -> tuple[str, str]:
    """A published value, and whether the run's interval meets it; "" without a row."""
    if not row:
        return "", ""
    text = given(row["published"])
    if row.get("spread") is not None:
        text += f" +- {given(row['spread'])}"
    within = _WITHIN.get(row.get("within"), "-")
    if row.get("within") and row.get("wide"):
        within += " (wide)"
    return text, within


def _seeds_text(per_seed: Sequence) -> str:
    """The number of seeds with a value, and of all if some have none."""
    count = sum(value is not None for value in per_seed)
    total = len(per_seed)
    if count == total:
        return str(count)
    return f"{count} of {total}"


def format_sweep(summary: dict, display: dict) -> str:
    """Formats the result of an ablation as plain text for a terminal.

    Args:
        summary: as for `format_table`.
        display: what the experiment says about its metrics.

    Returns:
        A line for each cell, best first, with the mean and the 95 % interval of each headline
        value, and one for each seed that failed.
    """
    shown_as = display_of(display, display.get("explanations"))
    headline = matrix(summary["metrics"], shown_as)
    lines = _failed(summary)
    if headline:
        lines.insert(0, format_matrix(headline))
    return "\n".join(lines)


def _failed(summary: dict) -> list[str]:
    """A line for each seed that failed."""
    entries = summary.get("failed_seeds", [])
    return [printed(f"failed: {failed_seed_text(entry)}") for entry in entries]
