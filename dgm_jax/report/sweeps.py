"""The results of an ablation: each headline value against the swept settings, and the best cell."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.core import ConfigError
from dgm_jax.report.charts import drawn
from dgm_jax.report.display import Display
from dgm_jax.report.statistics import paired_difference, per_seed_values
from dgm_jax.report.summaries import Nested
from dgm_jax.report.text import clean, interval, is_number, number

_MAX_CHARTS = 6
_MAX_GROUPS = 6
_MAX_HEATMAPS = 2


class Sweep(NamedTuple):
    """The swept settings of a run and their values in its arms.

    Attributes:
        settings: {name: values} of the settings with several values.
        cells: {arm: (its values of the settings, the rest of its name)}.
    """

    settings: dict[str, list]
    cells: dict[str, tuple[dict[str, Any], str]]


def sweep_of(grid: Any, arms: Sequence[str]) -> Sweep | None:
    """Reconstructs the sweep of a run.

    Args:
        grid: the entry of config.json, {setting: values}.
        arms: the run's arms, named `ARM, SETTING=VALUE, ...`.

    Returns:
        The sweep; None if the run is no ablation, or its arms are not those of the grid.
    """
    if not isinstance(grid, dict) or not grid:
        return None
    texts = {name: _texts(name, values) for name, values in grid.items()}
    cells = {}
    for arm in arms:
        chosen = {}
        rest = []
        for part in arm.split(", "):
            owners = [name for name in texts if part in texts[name]]
            chosen |= {name: texts[name][part] for name in owners}
            if not owners:
                rest.append(part)
        if len(chosen) < len(grid):
            return None
        in_order = {name: chosen[name] for name in grid}
        cells[arm] = (in_order, ", ".join(rest))
    settings = {}
    for name, values in grid.items():
        if len(values) > 1:
            numeric = all(is_number(v) for v in values)
            settings[name] = sorted(set(values)) if numeric else list(dict.fromkeys(values))
    return Sweep(settings, cells) if settings and cells else None


def _texts(name: str, values: Any) -> dict[str, Any]:
    values = values if isinstance(values, list) else []
    return {f"{name}={v}": v for v in values if isinstance(v, (int, float, str, bool))}


def is_log_spaced(values: Sequence) -> bool:
    """Whether numbers are more even on a logarithmic axis than on a linear one.

    Args:
        values: numbers, or anything else, for which the answer is no.

    Returns:
        True or False; for two numbers, whether they differ by a factor of ten or more.
    """
    if not all(is_number(v) and v > 0 for v in values) or len(set(values)) < 2:
        return False
    values = sorted(values)
    if len(values) == 2:
        return values[1] >= 10 * values[0]
    uneven = lambda steps: max(steps) / min(steps)
    linear = uneven(np.diff(np.asarray(values, np.float64)))
    return bool(uneven(np.diff(np.log(values))) < linear)


def sweep_content(sweep: Sweep, metrics: Nested, display: Display) -> dict[str, Any]:
    """The section of the report on a sweep.

    Args:
        sweep: settings and cells.
        metrics: {arm: {metric: summary}}.
        display: how the metrics are shown.

    Returns:
        `{"charts", "best", "others"}`: pictures, the best cell by the ranking metric or None, and
        the paired differences of all others from it.
    """
    rank, higher = display.ranking(metrics)
    names = [name for name in display.columns(metrics) if name != rank]
    names = ([rank] if rank else []) + names
    charts = []
    if len(sweep.settings) == 2:
        charts += _heatmaps(sweep, metrics, names[0])
    for setting in sweep.settings:
        for name in names if len(sweep.settings) == 1 else names[:1]:
            charts.append(_chart(sweep, metrics, display, setting, name))
    best, others = best_and_others(metrics, rank, higher)
    return {"charts": charts[:_MAX_CHARTS], "best": best, "others": others}


def best_and_others(
    metrics: Nested, rank: str | None, higher: bool
) -> tuple[dict[str, Any] | None, list[dict]]:
    """The arm with the best mean, and how the others differ from it.

    Args:
        metrics: {arm: {metric: summary}}.
        rank: the metric; None without a ranking.
        higher: whether higher is better.

    Returns:
        `{"arm", "metric", "higher", "mean", "interval_95"}` or None, and rows
        `{"arm", **paired_difference}` of every other arm minus that one.
    """
    if rank is None:
        return None, []
    means = {arm: summaries.get(rank, {}).get("mean") for arm, summaries in metrics.items()}
    means = {arm: mean for arm, mean in means.items() if is_number(mean)}
    if len(means) < 2:
        return None, []
    best = (max if higher else min)(means, key=means.__getitem__)
    summary = metrics[best][rank]
    of_best = summary.get("per_seed")
    rows = []
    for arm in sorted(means, key=means.__getitem__, reverse=higher):
        of_arm = metrics[arm][rank].get("per_seed")
        are_lists = isinstance(of_arm, list) and isinstance(of_best, list)
        if arm != best and are_lists and len(of_arm) == len(of_best):
            rows.append({"arm": arm, **paired_difference(of_arm, of_best)})
    shown = {k: summary.get(k) for k in ("mean", "interval_95")}
    return {"arm": best, "metric": rank, "higher": higher, **shown}, rows


def _chart(sweep: Sweep, metrics: Nested, display: Display, setting: str, name: str) -> dict:
    """A metric against one setting; the other settings, or the arms, are the groups."""
    from dgm_jax import plotting

    values = sweep.settings[setting]
    groups: dict[str, dict] = {}
    several = len({rest for _, rest in sweep.cells.values()}) > 1
    for arm, (chosen, rest) in sweep.cells.items():
        others = [k for k in chosen if k != setting and k in sweep.settings]
        parts = [f"{k}={chosen[k]}" for k in others]
        if several and rest:
            parts.insert(0, rest)
        group = groups.setdefault(", ".join(parts), {})
        group[chosen[setting]] = _seeds(metrics, arm, name)
    first = list(groups.items())[:_MAX_GROUPS]
    tables = {group: _table(cells, values) for group, cells in first}
    if len(tables) == 1:
        tables = {"": next(iter(tables.values()))}
    numeric = all(is_number(v) for v in values)
    settings = values if numeric else [clean(v) for v in values]
    return drawn(
        f"{name} by {setting}",
        _sentence(sweep, metrics, name, setting),
        plotting.values_by_setting(
            settings,
            tables,
            title=name,
            xlabel=setting,
            log_x=numeric and is_log_spaced(values),
            limits=display.ranges.get(name, (None, None)),
            levels=display.level(metrics, name),
        ),
    )


def _heatmaps(sweep: Sweep, metrics: Nested, name: str) -> list[dict]:
    """The mean of a metric over two settings, one chart for each of the first arms."""
    from dgm_jax import plotting

    across, down = sweep.settings
    columns = sweep.settings[across]
    rows = sweep.settings[down]
    charts = []
    bases = list(dict.fromkeys(rest for _, rest in sweep.cells.values()))
    for rest in bases[:_MAX_HEATMAPS]:
        table = np.full((len(rows), len(columns)), np.nan)
        for arm, (chosen, other) in sweep.cells.items():
            mean = metrics.get(arm, {}).get(name, {}).get("mean")
            if other == rest and is_number(mean):
                row = rows.index(chosen[down])
                column = columns.index(chosen[across])
                table[row, column] = mean
        title = f"{name}, mean over seeds" + (f": {rest}" if bases[1:] else "")
        figure = plotting.heatmap_of_settings(
            table,
            [clean(value) for value in columns],
            [clean(value) for value in rows],
            title=title,
            xlabel=across,
            ylabel=down,
        )
        alt = _sentence(sweep, metrics, name, f"{across} and {down}")
        charts.append(drawn(title, alt, figure, keep_colors=True))
    return charts


def _seeds(metrics: Nested, arm: str, name: str) -> np.ndarray:
    """[S] of an arm's metric; empty if it was not measured."""
    try:
        return per_seed_values(metrics.get(arm, {}).get(name, {}).get("per_seed") or [])
    except (ConfigError, TypeError, ValueError, OverflowError):
        return np.empty(0)


def _table(cells: dict, values: Sequence) -> np.ndarray:
    """[P, S] of {setting's value: [S]}."""
    width = max([1, *(len(cell) for cell in cells.values())])
    table = np.full((len(values), width), math.nan)
    for row, value in zip(table, values, strict=True):
        values_of_seeds = cells.get(value, np.empty(0))
        row[: len(values_of_seeds)] = values_of_seeds
    return table


def _sentence(sweep: Sweep, metrics: Nested, name: str, setting: str) -> str:
    """Describes the chart for readers who cannot see it."""
    cells = []
    for arm in list(sweep.cells)[:20]:
        summary = metrics.get(arm, {}).get(name, {})
        cells.append(f"{arm}: {number(summary.get('mean'))} {interval(summary.get('interval_95'))}")
    return f"{name} against {setting}, mean over seeds and 95 % interval. {'; '.join(cells)}."
