"""docs/benchmarks.md and its plot, from all stored results."""

import pathlib
from collections.abc import Iterable, Sequence

from benchmarks import records, summaries
from benchmarks.intervals import Interval
from benchmarks.summaries import Row

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "benchmarks.md"
PLOT = PAGE.with_suffix(".png")
HEAD = """\
# Speed

This page is written by `python -m benchmarks --page` from the files in `benchmarks/results/`, which
have every sample, the versions, the load and the commit. The
[README of the benchmarks](../benchmarks/README.md) says how it is measured, and what was tried.

- A row is a benchmark on one processor. Rows of a processor that is not at hand stay, with their
  date.
- "ratio" is how many times faster the library is than its fastest peer: the median over rounds,
  with an interval of at least 95 % (the range, where there were fewer than six rounds).
- "products" is the share of the peak of products that was measured in the same rounds, with the
  arithmetic counted by formula: products and convolutions only, so a lower bound. "memory" is the
  share of the bandwidth of a copy, with the bytes that must be moved at least.
- "compile" is the time that JAX takes to trace, lower and compile all programs of our side. "peak"
  is the resident memory of our process at most, over what it held after its imports.
- A cell is empty where something was not measured.

![Ratios to the fastest peer, with their intervals](benchmarks.png)
"""
COLUMNS = (
    "benchmark",
    "size",
    "seeds",
    "per second",
    "ratio",
    "fastest peer",
    "products",
    "memory",
    "compile",
    "peak",
    "rounds",
    "processor",
    "jaxlib",
    "date",
)


def rows_of(found: Iterable[records.Record]) -> list[Row]:
    """Rows by family, processor and date; quick runs are none."""
    rows = [summaries.row(record) for record in found if not record["quick"]]
    known = [row for row in rows if row is not None]
    key = lambda row: (row.record["family"], row.record["name"], row.record["device"]["key"])
    return sorted(known, key=lambda row: (*key(row), row.record["date"]))


def render(rows: Sequence[Row]) -> str:
    """The page."""
    head = f"| {' | '.join(COLUMNS)} |"
    line = f"| {' | '.join('---' for _ in COLUMNS)} |"
    body = [f"| {' | '.join(cells(row))} |" for row in rows]
    return "\n".join([HEAD, head, line, *body, ""])


def cells(row: Row) -> list[str]:
    """One line of the table."""
    record = row.record
    stages = record["sides"][row.ours].get("stages", {})
    compiling = [stages[name] for name in ("trace", "lower", "compile") if name in stages]
    return [
        record["family"].replace("_", " "),
        record["size"],
        str(record["seeds"]),
        f"{row.rate.value:,.4g} {record['unit']}",
        "" if row.ratio is None else interval(row.ratio),
        row.peer or "",
        share(row.peak_share),
        share(row.memory_share),
        f"{sum(compiling):.1f} s" if compiling else "",
        "" if row.peak_bytes is None else f"{row.peak_bytes / 1e6:,.0f} MB",
        str(record["rounds"]),
        record["device"]["name"],
        str(record["environment"]["versions"]["jaxlib"]),
        record["date"][:10],
    ]


def interval(value: Interval) -> str:
    """ "1.10 [1.05, 1.20]"."""
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"


def share(value: float | None) -> str:
    """ "12 %"."""
    return "" if value is None else f"{value:.0%}".replace("%", " %")


def draw(rows: Sequence[Row], path: pathlib.Path) -> None:
    """A point for each row with a peer, by processor."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [row for row in rows if row.ratio is not None]
    devices = sorted({row.record["device"]["key"] for row in shown})
    labels = list(dict.fromkeys(_label(row) for row in reversed(shown)))
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.2 * len(labels)), layout="constrained")
    for device in devices:
        own = [row for row in shown if row.record["device"]["key"] == device]
        ratios = [row.ratio for row in own if row.ratio is not None]
        middle = [ratio.value for ratio in ratios]
        low = [ratio.value - ratio.low for ratio in ratios]
        high = [ratio.high - ratio.value for ratio in ratios]
        places = [labels.index(_label(row)) for row in own]
        axes.errorbar(middle, places, xerr=[low, high], fmt="o", markersize=3, label=device)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.set_xscale("log")
    axes.set_xlabel("times as fast as the fastest peer")
    if devices:
        axes.legend(fontsize=7)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)


def _label(row: Row) -> str:
    record = row.record
    seeds = f", {record['seeds']} seeds" if record["seeds"] > 1 else ""
    return f"{record['family'].replace('_', ' ')}: {record['size']}{seeds}"


def write(folder: pathlib.Path) -> pathlib.Path:
    """Both files, from the results in a folder."""
    rows = rows_of(records.read(folder))
    PAGE.write_text(render(rows))
    draw(rows, PLOT)
    return PAGE
