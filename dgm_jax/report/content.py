"""The content of the report, from the files of a run folder."""

import pathlib
from typing import Any

from dgm_jax.report.charts import curves
from dgm_jax.report.display import Display, display_of
from dgm_jax.report.headline import arms_in_order, matrix
from dgm_jax.report.history import History, latest_metrics
from dgm_jax.report.pictures import MAX_CHARACTERS, pictures, series_of
from dgm_jax.report.statistics import differences_between_arms
from dgm_jax.report.summaries import Nested, flat_name, nested
from dgm_jax.report.sweeps import sweep_content, sweep_of
from dgm_jax.report.text import (
    clean,
    duration,
    failed_seed_text,
    interval,
    is_number,
    leaves,
    number,
)
from dgm_jax.store import records
from dgm_jax.store.reading import (
    CONFIG,
    FIGURES,
    METRICS,
    SUMMARY,
    count_damaged_rows,
    read_environment,
    read_rows,
)

_ANSWERS = 3  # pictures on the first screen
_SHOWN = (
    "mean",
    "standard_error",
    "interval_95",
    "interquartile_mean",
    "bootstrap_95",
    "per_seed",
)
_UNITS = {
    "wall_seconds": "wall time since the last start (s)",
    "compile_seconds": "compilation, not in the rate below (s)",
    "seed_steps_per_second": "seed-steps per second, after compilation",
}


class RunFiles:
    """The files of a run folder, read once.

    Attributes:
        root: the folder.
        config, summary, surroundings: what the files say.
        history: the logged rows.
        metrics: {arm: {metric: summary}}.
        reference: rows of published values.
        display: how the metrics are shown.
        experiment: its name.
    """

    def __init__(self, root: pathlib.Path, display: dict | None = None):
        """Reads the files.

        Args:
            root: the folder.
            display: what the experiment says about its metrics, used where summary.json does not.
        """
        self.root = root
        self.config = _read(root, CONFIG)
        self.surroundings = read_environment(root)
        self.summary = _read(root, SUMMARY)
        self.history = History(read_rows(root))
        result = nested(self.summary)
        self.metrics: Nested = result["metrics"] if self.summary else latest_metrics(self.history)
        self.reference: list[dict] = result["reference"]
        stored = _dict(self.summary.get("display"))
        fallback = display or {}
        explanations = self.summary.get("explanations") or fallback.get("explanations")
        self.display: Display = display_of(stored or fallback, explanations)
        name = self.config.pop("experiment", None) or self.summary.get("experiment") or "run"
        self.experiment = clean(name)

    def setting(self, name: str) -> Any:
        """Returns a value of the summary, or of the configuration while the run is unfinished."""
        return self.summary.get(name, self.config.get(name))

    @property
    def dataset(self) -> dict:
        """The recorded description of the data; empty if there is none."""
        return _dict(self.summary.get("dataset") or self.surroundings.get("dataset"))


def page_content(run: RunFiles) -> dict[str, Any]:
    """Collects everything that the report of a run shows.

    Args:
        run: its files.

    Returns:
        The variables of the page's template.
    """
    charts, charts_left_out = curves(run.history, run.metrics, run.display)
    grid = sweep_of(run.config.get("grid"), list(run.metrics))
    sweep = sweep_content(grid, run.metrics, run.display) if grid else None
    drawn = [*charts, *(sweep["charts"] if sweep else [])]
    left = MAX_CHARACTERS - sum(len(chart["source"]) for chart in drawn)
    final, snapshots = pictures(run.root, arms_in_order(run.metrics, run.display), left).values()
    newest = [row for series in series_of(snapshots) for row in series["rows"][-1:]]
    answer = final[:_ANSWERS] or newest[:_ANSWERS]
    brief = brief_facts(run)
    summary = run.summary
    return _folded(run) | {
        "title": ", ".join([f"{run.experiment}: report", *brief[:1]]),
        "experiment": run.experiment,
        "finished": bool(summary),
        "step": run.history.last_step,
        "num_steps": run.setting("num_steps"),
        "brief": brief,
        "facts": _facts(run),
        "matrix": matrix(run.metrics, run.display, run.reference),
        "sweep": sweep,
        "answer": answer,
        "more_pictures": final[_ANSWERS:],
        "snapshots": series_of(snapshots),
        "num_shown": len(final) + len(snapshots),
        "num_pictures": len(list((run.root / FIGURES).glob("*.png"))),
        "failed": [failed_seed_text(f) for f in _list(summary.get("failed_seeds"))],
        "notes": _notes(run),
        "curves": charts,
        "curves_left_out": charts_left_out,
    }


def _folded(run: RunFiles) -> dict[str, Any]:
    """The folded parts of the report, which a reader opens on demand."""
    several = len(run.metrics) > 1
    summary = run.summary
    return {
        "groups": _metric_groups(run.metrics, run.display),
        "several_arms": several,
        "reference": [
            {**row, "name": flat_name(row["arm"], row["metric"], several)} for row in run.reference
        ],
        "differences": _differences(run),
        "timing": _timing(summary),
        "program": leaves(
            {k: summary[k] for k in ("strategy", "layout", "final_params_sha256") if summary.get(k)}
        ),
        "dataset": leaves(run.dataset),
        "config": leaves(run.config),
        "environment": leaves({k: v for k, v in run.surroundings.items() if k != "dataset"}),
    }


def brief_facts(run: RunFiles) -> list[str]:
    """The run in a line: wall time, seeds, steps, parameters, data.

    Args:
        run: its files.

    Returns:
        Short texts; unknown facts are left out.
    """
    summary = run.summary
    texts = []
    if is_number(summary.get("wall_seconds")):
        texts.append(duration(summary["wall_seconds"]))
    for name, word in (("num_seeds", "seed"), ("num_steps", "step")):
        value = run.setting(name)
        if isinstance(value, int) and 0 < value < 10**15:
            texts.append(f"{value:,} {word}{'s' if value > 1 else ''}")
    texts += filter(None, [parameters_text(summary)])
    data = run.dataset.get("identity") or run.dataset.get("name") or run.config.get("data")
    text = clean(data) if data else ""
    return texts + ([text if len(text) <= 90 else f"{text[:90]}…"] if text else [])


def parameters_text(summary: dict) -> str:
    """The number of parameters in words.

    Args:
        summary: the content of summary.json.

    Returns:
        `17,666 parameters`, with the least and the most if arms differ; "" if unknown.
    """
    sizes = [n for n in _dict(summary.get("num_parameters")).values() if is_number(n)]
    if not sizes:
        return ""
    low = min(sizes)
    high = max(sizes)
    return f"{low:,} parameters" if low == high else f"{low:,} to {high:,} parameters"


def commit_of(surroundings: dict) -> str | None:
    """The commit that a run was made with.

    Args:
        surroundings: the content of environment.json.

    Returns:
        The commit, with a note on local changes; None if unknown.
    """
    git = _dict(surroundings.get("git"))
    changes = " with local changes" if git.get("dirty") else ""
    return f"{clean(git['commit'])}{changes}" if git.get("commit") else None


def _read(root, name):
    file = records.contained(root, root / name)
    return records.read_json(file) if file.exists() else {}


def _differences(run: RunFiles) -> list[dict]:
    rows = run.summary.get("differences")
    if rows is None:
        rows = differences_between_arms(run.metrics)
    levels = set(run.display.levels.values())
    return [row for row in _list(rows) if isinstance(row, dict) and row.get("metric") not in levels]


def _notes(run: RunFiles) -> list:
    """The run's notes without the ranking, which the first table shows, and notes on damage."""
    ranked = f"Ranking by {run.display.rank_by}, smallest first: "
    notes = [note for note in _list(run.summary.get("notes")) if not str(note).startswith(ranked)]
    return notes + _damage(run.root)


def _damage(root) -> list[str]:
    """A sentence if rows cannot be read and are missing from the curves."""
    count = count_damaged_rows(root)
    return [f"{METRICS} has {count} damaged lines, which are left out here"] if count else []


def _dict(value) -> dict:
    return value if isinstance(value, dict) else {}


def _list(value) -> list:
    return value if isinstance(value, list) else []


def _facts(run: RunFiles) -> list[tuple[str, str]]:
    """Rows (name, text) on how the run was made; unknown facts are left out."""
    surroundings = run.surroundings
    dataset = run.dataset
    devices = _dict(surroundings.get("devices"))
    kinds = ", ".join(f"{count} x {kind}" for kind, count in _dict(devices.get("kinds")).items())
    rows = [
        ("Command", surroundings.get("command")),
        ("Started", surroundings.get("date")),
        ("Device", f"{kinds} ({devices.get('processor')})" if kinds else None),
        ("Data", dataset.get("identity") or dataset.get("name") or run.config.get("data")),
        ("Seeds", run.setting("num_seeds")),
        ("Steps", run.setting("num_steps")),
        ("Commit", commit_of(surroundings)),
    ]
    return [(name, clean(value)) for name, value in rows if value is not None]


def _metric_groups(metrics: Nested, display: Display) -> list[dict]:
    """[{"name", "explanation", "level", "rows": [{"arm", **summary}]}]: one group a metric.

    The arms of a metric are sorted, best first, if it has a direction. A level of another metric
    is shown beside that metric.
    """
    groups: dict[str, list] = {}
    for arm, summaries in metrics.items():
        for metric, summary in summaries.items():
            row = {k: summary.get(k) for k in _SHOWN} | {"arm": arm}
            row["per_seed"] = _list(row["per_seed"])
            row["num_seeds"] = sum(v is not None for v in row["per_seed"])
            groups.setdefault(metric, []).append(row)
    placed = {other for name, other in display.levels.items() if name in groups}
    shown = []
    for name in (name for name in groups if name not in placed):
        rows = groups[name]
        if display.better.get(name):
            places = {arm: i for i, arm in enumerate(arms_in_order(metrics, display, name))}
            rows = sorted(rows, key=lambda row: places[row["arm"]])
        text = display.explanations.get(name, "")
        shown.append({"name": name, "explanation": text, "rows": rows, "level": ""})
        if display.levels.get(name) in placed:
            shown[-1]["level"] = _level_text(groups[display.levels[name]], display.levels[name])
    return shown


def _level_text(rows: list[dict], name: str) -> str:
    """`perfect_valid: vanilla 0.9889 [0.987, 0.991]`, with a part for each of at most five arms."""
    parts = [f"{row['arm']} {number(row['mean'])} {interval(row['interval_95'])}" for row in rows]
    return f"{name}: {'; '.join(parts[:5])}{'; …' if parts[5:] else ''}"


def _timing(summary) -> list[tuple[str, Any]]:
    rows = [(text, summary[key]) for key, text in _UNITS.items() if summary.get(key) is not None]
    for arm, values in _dict(summary.get("timing")).items():
        rows += [(f"{arm}: {_UNITS.get(key, key)}", value) for key, value in _dict(values).items()]
    return rows
