"""Several runs side by side: one table for the terminal, one page."""

import pathlib
from collections.abc import Sequence
from typing import Any

import jinja2

from dgm_jax.core import RunDirectoryError, require
from dgm_jax.report.charts import curves
from dgm_jax.report.content import RunFiles, commit_of, parameters_text
from dgm_jax.report.display import Display
from dgm_jax.report.headline import Matrix, arms_in_order, format_matrix, matrix
from dgm_jax.report.history import History
from dgm_jax.report.pictures import pictures
from dgm_jax.report.render import render
from dgm_jax.report.summaries import Nested
from dgm_jax.report.sweeps import best_and_others
from dgm_jax.report.text import clean, duration, leaves
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
    require(len({root.resolve() for root in roots}) == len(roots), "a folder is named twice")
    require(
        2 <= len(roots) <= _MAX_RUNS, f"compare takes 2 to {_MAX_RUNS} folders, got {len(roots)}"
    )
    require(out.suffix == ".html", f"out must end in .html, got {str(out)!r}")
    require(out.parent.is_dir(), f"out: there is no folder {out.parent}")
    for root in roots:
        has_config = (root / CONFIG).is_file()
        require(has_config, f"{root} holds no run: there is no {CONFIG}", RunDirectoryError)
    padded = [*displays, *[None] * len(roots)]
    runs = [RunFiles(root, display) for root, display in zip(roots, padded, strict=False)]
    content = _content(dict(zip(_labels(roots), runs, strict=True)))
    try:
        text = render("compare.html.jinja", content | {"made": environment.utc_now()})
    except jinja2.UndefinedError as error:
        message = f"a summary.json lacks an entry that the page needs: {error}"
        raise RunDirectoryError(message) from error
    records.write_atomically(out, text)
    headline: Matrix | None = content["matrix"]
    return format_matrix(headline) if headline else "nothing has been measured yet", out


def _labels(roots: Sequence[pathlib.Path]) -> list[str]:
    """The shortest ends of the paths that tell all of them apart."""
    parts = [root.resolve().parts for root in roots]
    for count in range(1, max(map(len, parts)) + 1):
        labels = [clean("/".join(part[-count:])) for part in parts]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{label} ({i})" for i, label in enumerate(labels)]


def _content(runs: dict[str, RunFiles]) -> dict[str, Any]:
    metrics: Nested = {}
    rows = []
    reference = []
    for label, run in runs.items():
        names = {arm: f"{label}: {arm}" if len(run.metrics) > 1 else label for arm in run.metrics}
        metrics |= {names[arm]: summaries for arm, summaries in run.metrics.items()}
        reference += [{**r, "arm": names[r["arm"]]} for r in run.reference if r["arm"] in names]
        for row in read_rows(run.root):
            arm = str(row.get("arm") or "")
            rows.append({**row, "arm": names.get(arm, f"{label}: {arm}" if arm else label)})
    display = _joined([run.display for run in runs.values()])
    charts, left_out = curves(History(rows), metrics, display)
    rank, higher = display.ranking(metrics)
    best, others = best_and_others(metrics, rank, higher) if _paired(runs) else (None, [])
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
        "answer": [
            {**row, "name": f"{label}: {row['name']}"}
            for label, run in runs.items()
            for row in pictures(run.root, arms_in_order(run.metrics, run.display))["final"][:1]
        ],
    }


def _joined(displays: Sequence[Display]) -> Display:
    """Joins what the experiments say; where they disagree, the first one counts."""
    tables = ("better", "ranges", "levels", "explanations")
    joined: dict[str, Any] = {name: {} for name in tables}
    for display in reversed(displays):
        for name in tables:
            joined[name] |= getattr(display, name)
    headline = tuple(dict.fromkeys(name for display in displays for name in display.headline))
    ranks = {display.rank_by for display in displays}
    return Display(headline=headline, rank_by=ranks.pop() if len(ranks) == 1 else None, **joined)


def _paired(runs: dict[str, RunFiles]) -> bool:
    """Whether all runs have the same seeds of the same experiment."""
    seeds = {
        (run.experiment, str(run.config.get("seed")), str(run.setting("num_seeds")))
        for run in runs.values()
    }
    return len(seeds) == 1


def _run_row(label: str, run: RunFiles) -> list[str]:
    seconds = run.summary.get("wall_seconds")
    state = "finished" if run.summary else f"unfinished, step {run.history.last_step}"
    data = run.dataset.get("identity") or run.dataset.get("name") or run.config.get("data")
    return [
        label,
        run.experiment,
        state,
        *(clean(run.setting(name) or "–") for name in ("num_seeds", "num_steps")),
        duration(seconds),
        parameters_text(run.summary).removesuffix(" parameters") or "–",
        clean(data or "–"),
        commit_of(run.surroundings) or "–",
    ]


def _different_settings(runs: dict[str, RunFiles]) -> list[tuple[str, list[str]]]:
    """Rows (setting, its value in each run) of the settings that differ between runs."""
    tables = [dict(leaves(run.config)) for run in runs.values()]
    names = dict.fromkeys(name for table in tables for name in table)
    rows = [(name, [table.get(name, "–") for table in tables]) for name in names]
    hidden = ("format", "run_id")
    return [(name, values) for name, values in rows if len(set(values)) > 1 and name not in hidden]
