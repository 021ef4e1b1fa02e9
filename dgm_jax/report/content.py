"""The content of the report, from the files of a run folder."""

import pathlib
from typing import Any

from dgm_jax.report.charts import curves
from dgm_jax.report.display import Display, display_of
from dgm_jax.report.headline import arms_in_order, matrix, metric_groups
from dgm_jax.report.history import History, latest_metrics
from dgm_jax.report.pictures import MAX_CHARACTERS, pictures, series_of
from dgm_jax.report.statistics import differences_between_arms
from dgm_jax.report.summaries import Nested, flat_name, nested
from dgm_jax.report.sweeps import sweep_content, sweep_of
from dgm_jax.report.text import (
    clean,
    commit_of,
    duration,
    failed_seed_text,
    is_number,
    leaves,
    parameters_text,
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
        self.metrics: Nested = result["metrics"]
        if not self.summary:
            self.metrics = latest_metrics(self.history)
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
        dataset = self.summary.get("dataset") or self.surroundings.get("dataset")
        return _dict(dataset)

    @property
    def data(self) -> Any:
        """What names the data: its identity, its name, or the setting; None if there is none."""
        dataset = self.dataset
        name = dataset.get("identity") or dataset.get("name")
        return name or self.config.get("data")


def page_content(run: RunFiles) -> dict[str, Any]:
    """Collects everything that the report of a run shows.

    Args:
        run: its files.

    Returns:
        The variables of the page's template.
    """
    charts, charts_left_out = curves(run.history, run.metrics, run.display)
    sweep = _sweep(run)
    all_charts = list(charts)
    if sweep:
        all_charts += sweep["charts"]
    num_characters = sum(len(chart["source"]) for chart in all_charts)
    brief = brief_facts(run)
    title = f"{run.experiment}: report"
    if brief:
        title += f", {brief[0]}"
    failed_seeds = _list(run.summary.get("failed_seeds"))
    picture_content = _picture_content(run, MAX_CHARACTERS - num_characters)
    content = _folded(run) | picture_content
    return content | {
        "title": title,
        "experiment": run.experiment,
        "finished": bool(run.summary),
        "step": run.history.last_step,
        "num_steps": run.setting("num_steps"),
        "brief": brief,
        "facts": _facts(run),
        "matrix": matrix(run.metrics, run.display, run.reference),
        "sweep": sweep,
        "failed": [failed_seed_text(entry) for entry in failed_seeds],
        "notes": _notes(run),
        "curves": charts,
        "curves_left_out": charts_left_out,
    }


def _sweep(run: RunFiles) -> dict[str, Any] | None:
    """The section on the swept settings; None if the run is no ablation."""
    sweep = sweep_of(run.config.get("grid"), list(run.metrics))
    if sweep is None:
        return None
    return sweep_content(sweep, run.metrics, run.display)


def _picture_content(run: RunFiles, max_characters: int) -> dict[str, Any]:
    """The pictures of the first screen, and the folded ones with their number."""
    arms = arms_in_order(run.metrics, run.display)
    final, snapshots = pictures(run.root, arms, max_characters).values()
    all_series = series_of(snapshots)
    newest = []
    for series in all_series:
        newest += series["rows"][-1:]
    files = list((run.root / FIGURES).glob("*.png"))
    return {
        "answer": final[:_ANSWERS] or newest[:_ANSWERS],
        "more_pictures": final[_ANSWERS:],
        "snapshots": all_series,
        "num_shown": len(final) + len(snapshots),
        "num_pictures": len(files),
    }


def _folded(run: RunFiles) -> dict[str, Any]:
    """The folded parts of the report, which a reader opens on demand."""
    several = len(run.metrics) > 1
    reference = []
    for row in run.reference:
        name = flat_name(row["arm"], row["metric"], several)
        reference.append({**row, "name": name})
    summary = run.summary
    program = {}
    for key in ("strategy", "layout", "final_params_sha256"):
        if summary.get(key):
            program[key] = summary[key]
    environment = {k: v for k, v in run.surroundings.items() if k != "dataset"}
    return {
        "groups": metric_groups(run.metrics, run.display),
        "several_arms": several,
        "reference": reference,
        "differences": _differences(run),
        "timing": _timing(summary),
        "program": leaves(program),
        "dataset": leaves(run.dataset),
        "config": leaves(run.config),
        "environment": leaves(environment),
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
            ending = "s" if value > 1 else ""
            texts.append(f"{value:,} {word}{ending}")
    num_parameters = parameters_text(summary)
    if num_parameters:
        texts.append(num_parameters)
    data = clean(run.data) if run.data else ""
    if len(data) > 90:
        data = f"{data[:90]}…"
    if data:
        texts.append(data)
    return texts


def _read(root, name):
    file = records.contained(root, root / name)
    if not file.exists():
        return {}
    return records.read_json(file)


def _differences(run: RunFiles) -> list[dict]:
    rows = run.summary.get("differences")
    if rows is None:
        rows = differences_between_arms(run.metrics)
    levels = set(run.display.levels.values())
    shown = []
    for row in _list(rows):
        if isinstance(row, dict) and row.get("metric") not in levels:
            shown.append(row)
    return shown


def _notes(run: RunFiles) -> list:
    """The run's notes without the ranking, which the first table shows, and notes on damage."""
    ranked = f"Ranking by {run.display.rank_by}, smallest first: "
    notes = _list(run.summary.get("notes"))
    others = [note for note in notes if not str(note).startswith(ranked)]
    return others + _damage(run.root)


def _damage(root) -> list[str]:
    """A sentence if rows cannot be read and are missing from the curves."""
    count = count_damaged_rows(root)
    if not count:
        return []
    return [f"{METRICS} has {count} damaged lines, which are left out here"]


def _dict(value) -> dict:
    return value if isinstance(value, dict) else {}


def _list(value) -> list:
    return value if isinstance(value, list) else []


def _facts(run: RunFiles) -> list[tuple[str, str]]:
    """Rows (name, text) on how the run was made; unknown facts are left out."""
    surroundings = run.surroundings
    devices = _dict(surroundings.get("devices"))
    kinds = _dict(devices.get("kinds"))
    device = None
    if kinds:
        counted = ", ".join(f"{count} x {kind}" for kind, count in kinds.items())
        device = f"{counted} ({devices.get('processor')})"
    rows = [
        ("Command", surroundings.get("command")),
        ("Started", surroundings.get("date")),
        ("Device", device),
        ("Data", run.data),
        ("Seeds", run.setting("num_seeds")),
        ("Steps", run.setting("num_steps")),
        ("Commit", commit_of(surroundings)),
    ]
    return [(name, clean(value)) for name, value in rows if value is not None]


def _timing(summary) -> list[tuple[str, Any]]:
    rows = []
    for key, text in _UNITS.items():
        if summary.get(key) is not None:
            rows.append((text, summary[key]))
    for arm, values in _dict(summary.get("timing")).items():
        for key, value in _dict(values).items():
            name = _UNITS.get(key, key)
            rows.append((f"{arm}: {name}", value))
    return rows
