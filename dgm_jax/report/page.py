"""The report: one HTML file for a person, made of nothing but what lies in the run folder.

It holds its pictures, asks the network for nothing, runs no script, and escapes every text that
comes from the folder. It can be made of a run that is still going on, or was killed.

Beyond what a summary.json always has, the report shows these entries of it where they are there:
`arms` (list of names), `explanations` (metric -> sentence), `differences` (rows of
`paired_difference` with `metric`, `arm`, `baseline`), `dataset` (what was trained on), `timing`
(arm -> figures), `notes` (sentences).
"""

import base64
import hashlib
import importlib.resources
import pathlib
from typing import Any

import jinja2

from dgm_jax.core import RunDirectoryError
from dgm_jax.report.history import History, latest_metrics
from dgm_jax.report.pictures import figure_address, pictures
from dgm_jax.report.statistics import differences_between_arms
from dgm_jax.report.summaries import Nested, flat_name, nested
from dgm_jax.report.text import failed_seed_text, given, interval, leaves, number, p_value
from dgm_jax.store import environment, records
from dgm_jax.store.reading import (
    CONFIG,
    FIGURES,
    METRICS,
    SUMMARY,
    count_damaged_rows,
    read_environment,
    read_rows,
)

_MAX_CURVES = 24
_CURVES_LENGTH = 1_600_000
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


def write_report(path) -> pathlib.Path:
    """Writes report.html into a run folder from the files in it, finished or not, and returns its
    path.

    Raises `RunDirectoryError` where the folder holds no run or a file in it is damaged.
    """
    root = pathlib.Path(path)
    if not (root / CONFIG).is_file():
        raise RunDirectoryError(f"{root} holds no run: there is no {CONFIG}")
    target = records.contained(root, root / "report.html")
    records.write_atomically(target, _render(_content(root)))
    return target


def _read(root, name):
    file = records.contained(root, root / name)
    return records.read_json(file) if file.exists() else {}


def _content(root: pathlib.Path) -> dict[str, Any]:
    """Everything the template shows."""
    config = _read(root, CONFIG)
    surroundings, summary = read_environment(root), _read(root, SUMMARY)
    history = History(read_rows(root))
    result = nested(summary)
    metrics = result["metrics"] if summary else latest_metrics(history)
    several = len(metrics) > 1
    differences = summary.get("differences")
    if differences is None:
        differences = differences_between_arms(metrics)
    experiment = str(config.pop("experiment", summary.get("experiment", "run")))
    curves, curves_left_out = _curves(history)
    return {
        "experiment": experiment,
        "finished": bool(summary),
        "step": history.last_step,
        "num_steps": summary.get("num_steps", config.get("num_steps")),
        "facts": _facts(config, surroundings, summary),
        "groups": _metric_groups(metrics, _dict(summary.get("explanations"))),
        "several_arms": several,
        "reference": [
            {**row, "name": flat_name(row["arm"], row["metric"], several)}
            for row in result["reference"]
        ],
        "differences": [row for row in _list(differences) if isinstance(row, dict)],
        "failed": [failed_seed_text(f) for f in _list(summary.get("failed_seeds"))],
        "notes": _list(summary.get("notes")) + _damage(root),
        "curves": curves,
        "curves_left_out": curves_left_out,
        "pictures": pictures(root),
        "num_pictures": len(list((root / FIGURES).glob("*.png"))),
        "timing": _timing(summary),
        "program": leaves(
            {k: summary[k] for k in ("strategy", "layout", "final_params_sha256") if summary.get(k)}
        ),
        "dataset": leaves(_dict(summary.get("dataset") or surroundings.get("dataset"))),
        "config": leaves(config),
        "environment": leaves({k: v for k, v in surroundings.items() if k != "dataset"}),
        "made": environment.utc_now(),
    }


def _damage(root) -> list[str]:
    """A sentence where the curves lack rows that cannot be read."""
    count = count_damaged_rows(root)
    return [f"{METRICS} has {count} damaged lines, which are left out here"] if count else []


def _render(content: dict) -> str:
    template = (
        importlib.resources.files("dgm_jax.report").joinpath("page.html.jinja").read_text("utf-8")
    )
    engine = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    engine.filters |= {
        "number": number,
        "given": given,
        "interval": interval,
        "p_value": p_value,
        "sha256": (
            lambda text: base64.b64encode(hashlib.sha256(str(text).encode()).digest()).decode()
        ),
    }
    try:
        return engine.from_string(template).render(**content)
    except jinja2.UndefinedError as error:
        raise RunDirectoryError(
            f"{SUMMARY} lacks an entry that the report needs: {error}"
        ) from error


def _dict(value) -> dict:
    return value if isinstance(value, dict) else {}


def _list(value) -> list:
    return value if isinstance(value, list) else []


def _facts(config, surroundings, summary):
    """(name, text) rows at the head of the report; what is not known is left out."""
    devices = _dict(surroundings.get("devices"))
    kinds = ", ".join(f"{count} x {kind}" for kind, count in _dict(devices.get("kinds")).items())
    dataset = _dict(summary.get("dataset") or surroundings.get("dataset"))
    git = _dict(surroundings.get("git"))
    commit = (
        f"{git['commit']}{' with local changes' if git.get('dirty') else ''}"
        if git.get("commit")
        else None
    )
    rows = [
        ("Command", surroundings.get("command")),
        ("Started", surroundings.get("date")),
        ("Device", f"{kinds} ({devices.get('processor')})" if kinds else None),
        ("Data", dataset.get("identity") or dataset.get("name") or config.get("data")),
        ("Seeds", summary.get("num_seeds", config.get("num_seeds"))),
        ("Steps", summary.get("num_steps", config.get("num_steps"))),
        ("Commit", commit),
    ]
    return [(name, str(value)) for name, value in rows if value is not None]


def _metric_groups(metrics: Nested, explanations: dict) -> list[dict]:
    """[{"name", "explanation", "rows": [{"arm", **summary}]}]: the arms of a metric stand
    together."""
    groups: dict[str, list] = {}
    for arm, summaries in metrics.items():
        for metric, summary in summaries.items():
            row = {k: summary.get(k) for k in _SHOWN} | {"arm": arm}
            row["per_seed"] = _list(row["per_seed"])
            row["num_seeds"] = sum(v is not None for v in row["per_seed"])
            groups.setdefault(metric, []).append(row)
    return [
        {"name": name, "explanation": explanations.get(name, ""), "rows": rows}
        for name, rows in groups.items()
    ]


def _timing(summary) -> list[tuple[str, Any]]:
    rows = [(text, summary[key]) for key, text in _UNITS.items() if summary.get(key) is not None]
    for arm, figures in _dict(summary.get("timing")).items():
        rows += [(f"{arm}: {_UNITS.get(key, key)}", value) for key, value in _dict(figures).items()]
    return rows


def _curves(history: History) -> tuple[list[dict], int]:
    """[{"name", "alt", "light", "dark"}] with pictures as data addresses, and how many metrics were
    left out."""
    # matplotlib takes a second to import, which a refused folder should not wait for
    from dgm_jax import plotting

    steps, curves = history.curves(_MAX_CURVES)
    rows, left = [], _CURVES_LENGTH
    for name in history.metrics[:_MAX_CURVES]:
        row = {"name": name, "alt": history.describe(name)}
        arms = {arm: {name: metrics[name]} for arm, metrics in curves.items() if name in metrics}
        for theme in ("light", "dark"):
            row[theme] = figure_address(plotting.training_curves(steps, arms, theme=theme)[name])
        left -= len(row["light"]) + len(row["dark"])
        if left < 0:
            break
        rows.append(row)
    return rows, len(history.metrics) - len(rows)
