"""Several runs side by side: one table for the terminal, one page."""

import pathlib
from collections.abc import Sequence
from typing import Any

import jinja2

from dgm_jax.core import RunDirectoryError, require
from dgm_jax.report.charts import curves
from dgm_jax.report.content import RunFiles
from dgm_jax.report.display import Display
from dgm_jax.report.headline import Matrix, arms_in_order, format_matrix, matrix
from dgm_jax.report.history import History
from dgm_jax.report.pictures import pictures
from dgm_jax.report.render import render
from dgm_jax.report.summaries import Nested
from dgm_jax.report.sweeps import best_and_others
from dgm_jax.report.text import clean, commit_of, duration, leaves, parameters_text
from dgm_jax.store import environment, records
from dgm_jax.store.reading import CONFIG, PathLike, read_rows

_MAX_RUNS = 50


def compare(
    folders: Sequence[PathLike], out: PathLike, displays: Sequence[dict | None] = ()
) -> tuple[str, pathlib.Path]:
    """Writes a page that compares several run folders, finished or not.

    Args:
        folders: at least two.
        out: path of the page, NAME.html; an existing file is replaced.
        displays: for each folder what its experiment says about its metrics, or None.

    Returns:
        The headline values as a table for the terminal, and the path of the page.

    Raises:
        RunDirectoryError: a folder holds no run, or a file in it is damaged.
        ConfigError: there are fewer than two folders, or `out` is not a page in an existing folder.
    """
    roots = [pathlib.Path(folder) for folder in folders]
    out = pathlib.Path(out)
    num_distinct = len({root.resolve() for root in roots})
    require(num_distinct == len(roots), "a folder is named twice")
    can_compare = 2 <= len(roots) <= _MAX_RUNS
    require(can_compare, f"compare takes 2 to {_MAX_RUNS} folders, got {len(roots)}")
    require(out.suffix == ".html", f"out must end in .html, got {str(out)!r}")
    require(out.parent.is_dir(), f"out: there is no folder {out.parent}")
    for root in roots:
        has_config = (root / CONFIG).is_file()
        require(has_config, f"{root} holds no run: there is no {CONFIG}", RunDirectoryError)
    padded_displays = [*displays, *[None] * len(roots)]
    runs = []
    for root, display in zip(roots, padded_displays, strict=False):
        runs.append(RunFiles(root, display))
    labels = _labels(roots)
    content = _content(dict(zip(labels, runs, strict=True)))
    try:
        made = environment.utc_now()
        text = render("compare.html.jinja", content | {"made": made})
    except jinja2.UndefinedError as error:
        message = f"a summary.json lacks an entry that the page needs: {error}"
        raise RunDirectoryError(message) from error
    records.write_atomically(out, text)
    headline: Matrix | None = content["matrix"]
    if headline is None:
        return "nothing has been measured yet", out
    return format_matrix(headline), out


def _labels(roots: Sequence[pathlib.Path]) -> list[str]:
    """The shortest ends of the paths that tell all of them apart."""
    parts = [root.resolve().parts for root in roots]
    most_parts = max(map(len, parts))
    for count in range(1, most_parts + 1):
        ends = ["/".join(part[-count:]) for part in parts]
        labels = [clean(end) for end in ends]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{label} ({i})" for i, label in enumerate(labels)]


def _content(runs: dict[str, RunFiles]) -> dict[str, Any]:
    """The variables of the page's template."""
    metrics: Nested = {}
    rows = []
    reference = []
    for label, run in runs.items():
        names = _names_of_arms(label, run)
        for arm, summaries in run.metrics.items():
            metrics[names[arm]] = summaries
        for row in run.reference:
            if row["arm"] in names:
                reference.append({**row, "arm": names[row["arm"]]})
        rows += _logged_rows(label, run, names)
    display = _joined([run.display for run in runs.values()])
    charts, left_out = curves(History(rows), metrics, display)
    rank, higher = display.ranking(metrics)
    best, others = None, []
    if _paired(runs):
        best, others = best_and_others(metrics, rank, higher)
    return {
        "title": f"{len(runs)} runs compared",
        "several_runs": True,
        "all_finished": all(run.summary for run in runs.values()),
        "matrix": matrix(metrics, display, reference),
        "best": best,
        "others": others,
        "curves": [row for row in charts if row["headline"]],
        "runs": [_run_row(label, run) for label, run in runs.items()],
        "labels": list(runs),
        "settings": _different_settings(runs),
        "answer": _first_pictures(runs),
    }


def _names_of_arms(label: str, run: RunFiles) -> dict[str, str]:
    """{arm: its name on the page}: the run's label, and the arm if there are several."""
    if len(run.metrics) <= 1:
        return dict.fromkeys(run.metrics, label)
    return {arm: f"{label}: {arm}" for arm in run.metrics}


def _logged_rows(label: str, run: RunFiles, names: dict[str, str]) -> list[dict]:
    """The rows of a run's metrics.jsonl with the names of arms on the page."""
    rows = []
    for row in read_rows(run.root):
        arm = str(row.get("arm") or "")
        default = f"{label}: {arm}" if arm else label
        rows.append({**row, "arm": names.get(arm, default)})
    return rows


def _first_pictures(runs: dict[str, RunFiles]) -> list[dict]:
    """The first picture of the end of each run that has one."""
    rows = []
    for label, run in runs.items():
        arms = arms_in_order(run.metrics, run.display)
        final = pictures(run.root, arms)["final"]
        for row in final[:1]:
            name = f"{label}: {row['name']}"
            rows.append({**row, "name": name})
    return rows


def _joined(displays: Sequence[Display]) -> Display:
    """Joins what the experiments say; where they disagree, the first one counts."""
    tables = ("better", "ranges", "levels", "explanations")
    joined: dict[str, Any] = {name: {} for name in tables}
    for display in reversed(displays):
        for name in tables:
            joined[name] |= getattr(display, name)
    headline = []
    for display in displays:
        headline += display.headline
    distinct = tuple(dict.fromkeys(headline))
    ranks = {display.rank_by for display in displays}
    rank = ranks.pop() if len(ranks) == 1 else None
    return Display(headline=distinct, rank_by=rank, **joined)


def _paired(runs: dict[str, RunFiles]) -> bool:
    """Whether all runs have the same seeds of the same experiment."""
    draws = set()
    for run in runs.values():
        seed = str(run.config.get("seed"))
        num_seeds = str(run.setting("num_seeds"))
        draws.add((run.experiment, seed, num_seeds))
    return len(draws) == 1


def _run_row(label: str, run: RunFiles) -> list[str]:
    """What the table of runs says about one."""
    state = f"unfinished, step {run.history.last_step}"
    if run.summary:
        state = "finished"
    num_seeds = run.setting("num_seeds")
    num_steps = run.setting("num_steps")
    num_parameters = parameters_text(run.summary).removesuffix(" parameters")
    return [
        label,
        run.experiment,
        state,
        clean(num_seeds or "–"),
        clean(num_steps or "–"),
        duration(run.summary.get("wall_seconds")),
        num_parameters or "–",
        clean(run.data or "–"),
        commit_of(run.surroundings) or "–",
    ]


def _different_settings(runs: dict[str, RunFiles]) -> list[tuple[str, list[str]]]:
    """Rows (setting, its value in each run) of the settings that differ between runs."""
    tables = [dict(leaves(run.config)) for run in runs.values()]
    names = dict.fromkeys(name for table in tables for name in table)
    rows = []
    for name in names:
        values = [table.get(name, "–") for table in tables]
        if len(set(values)) > 1 and name not in ("format", "run_id"):
            rows.append((name, values))
    return rows
