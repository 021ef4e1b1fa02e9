"""The result of a run as a table for the terminal."""

from collections.abc import Sequence

from dgm_jax.report.display import display_of
from dgm_jax.report.headline import format_matrix, matrix
from dgm_jax.report.summaries import flat_name
from dgm_jax.report.text import aligned, failed_seed_text, given, interval, number, printed


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
        row = published.get((arm, name))
        text = ""
        within = ""
        if row:
            spread = f" +- {given(row['spread'])}" if row.get("spread") is not None else ""
            text = f"{given(row['published'])}{spread}"
            within = {True: "yes", False: "no"}.get(row.get("within"), "-")
            within += " (wide)" if row.get("within") and row.get("wide") else ""
        count = sum(v is not None for v in metric["per_seed"])
        total = len(metric["per_seed"])
        rows.append(
            (
                flat_name(arm, name, several=len(by_arm) > 1),
                number(metric["mean"], "-"),
                number(metric["standard_error"], "-"),
                interval(metric["interval_95"], "-"),
                str(count) if count == total else f"{count} of {total}",
                text,
                within,
            )
        )
    if not published:
        rows = [row[:5] for row in rows]
    return "\n".join([aligned(rows), *_failed(summary)])


def format_sweep(summary: dict, display: dict) -> str:
    """Formats the result of an ablation as plain text for a terminal.

    Args:
        summary: as for `format_table`.
        display: what the experiment says about its metrics.

    Returns:
        A line for each cell, best first, with the mean and the 95 % interval of each headline
        value, and one for each seed that failed.
    """
    headline = matrix(summary["metrics"], display_of(display, display.get("explanations")))
    lines = [format_matrix(headline)] if headline else []
    return "\n".join([*lines, *_failed(summary)])


def _failed(summary: dict) -> list[str]:
    """A line for each seed that failed."""
    entries = summary.get("failed_seeds", [])
    return [printed(f"failed: {failed_seed_text(entry)}") for entry in entries]
