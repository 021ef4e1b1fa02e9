"""The results of an ablation: each headline value against the swept settings, and the best cell."""

import math
import sys
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
    if not all(isinstance(values, list | tuple) for values in grid.values()):
        return None
    values_by_text = {name: _texts(name, values) for name, values in grid.items()}
    cells = {}
    for arm in arms:
        chosen, rest = _split_arm(arm, values_by_text)
        if len(chosen) < len(grid):
            return None
        in_order = {name: chosen[name] for name in grid}
        cells[arm] = (in_order, rest)
    settings = {}
    for name, values in grid.items():
        if len(values) > 1:
            settings[name] = _distinct(values)
    if not settings or not cells:
        return None
    return Sweep(settings, cells)


def _texts(name: str, values: Any) -> dict[str, Any]:
    """{`SETTING=VALUE`: value} of a setting."""
    if not isinstance(values, list):
        return {}
    scalars = [v for v in values if isinstance(v, (int, float, str, bool))]
    return {f"{name}={v}": v for v in scalars}


def _split_arm(arm: str, values_by_text: dict[str, dict]) -> tuple[dict[str, Any], str]:
    """The values of settings that an arm's name holds, and the rest of the name."""
    chosen = {}
    rest = []
    for part in arm.split(", "):
        owners = [name for name, values in values_by_text.items() if part in values]
        for name in owners:
            chosen[name] = values_by_text[name][part]
        if not owners:
            rest.append(part)
    return chosen, ", ".join(rest)


def _distinct(values: Sequence) -> list:
    """Each value once: numbers in rising order, other values in their own."""
    if all(is_number(v) for v in values):
        return sorted(set(values))
    return list(dict.fromkeys(values))


def is_log_spaced(values: Sequence) -> bool:
    """Whether numbers are more even on a logarithmic axis than on a linear one.

    Args:
        values: numbers, or anything else, for which the answer is no.

    Returns:
        True or False; for two numbers, whether they differ by a factor of ten or more.
    """
    are_positive = all(is_number(v) and 0 < v <= sys.float_info.max for v in values)
    if not are_positive or len(set(values)) < 2:
        return False
    numbers = np.sort(np.asarray(values, np.float64))
    if len(numbers) == 2:
        return bool(numbers[1] >= 10 * numbers[0])
    linear = _unevenness(np.diff(numbers))
    log_steps = np.diff(np.log(numbers))
    return bool(_unevenness(log_steps) < linear)


def _unevenness(steps: np.ndarray) -> float:
    """How many times as large as the smallest step the largest one is."""
    return max(steps) / min(steps)


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
    if rank:
        names.insert(0, rank)
    charts = []
    if len(sweep.settings) == 2 and names:
        charts += _heatmaps(sweep, metrics, names[0])
    charted_names = names if len(sweep.settings) == 1 else names[:1]
    for setting in sweep.settings:
        for name in charted_names:
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
    means = {}
    for arm, summaries in metrics.items():
        mean = summaries.get(rank, {}).get("mean")
        if is_number(mean):
            means[arm] = mean
    if len(means) < 2:
        return None, []
    best, *others = sorted(means, key=means.__getitem__, reverse=higher)
    summary = metrics[best][rank]
    of_best = summary.get("per_seed")
    rows = []
    for arm in others:
        of_arm = metrics[arm][rank].get("per_seed")
        are_lists = isinstance(of_arm, list) and isinstance(of_best, list)
        if are_lists and len(of_arm) == len(of_best):
            difference = paired_difference(of_arm, of_best)
            rows.append({"arm": arm, **difference})
    best_cell = {
        "arm": best,
        "metric": rank,
        "higher": higher,
        "mean": summary.get("mean"),
        "interval_95": summary.get("interval_95"),
    }
    return best_cell, rows


def _chart(sweep: Sweep, metrics: Nested, display: Display, setting: str, name: str) -> dict:
    """A metric against one setting."""
    from dgm_jax import plotting

    values = sweep.settings[setting]
    groups = _groups(sweep, metrics, setting, name)
    numeric = all(is_number(v) for v in values)
    settings = values if numeric else [clean(v) for v in values]
    alt = _sentence(sweep, metrics, name, setting)
    figure = plotting.values_by_setting(
        settings,
        groups,
        title=name,
        xlabel=setting,
        log_x=numeric and is_log_spaced(values),
        limits=display.ranges.get(name, (None, None)),
        levels=display.level(metrics, name),
    )
    return drawn(f"{name} by {setting}", alt, figure)


def _groups(sweep: Sweep, metrics: Nested, setting: str, name: str) -> dict[str, np.ndarray]:
    """{group: [P, S]} of a metric; the other settings, or the arms, are the groups."""
    bases = {base for _, base in sweep.cells.values()}
    groups: dict[str, dict] = {}
    for arm, (chosen, base) in sweep.cells.items():
        parts = []
        if base and len(bases) > 1:
            parts.append(base)
        for other, value in chosen.items():
            if other != setting and other in sweep.settings:
                parts.append(f"{other}={value}")
        seeds_by_value = groups.setdefault(", ".join(parts), {})
        seeds_by_value[chosen[setting]] = _seeds(metrics, arm, name)
    tables = {}
    for group in list(groups)[:_MAX_GROUPS]:
        tables[group] = _table(groups[group], sweep.settings[setting])
    if len(tables) == 1:
        (table,) = tables.values()
        return {"": table}
    return tables


def _heatmaps(sweep: Sweep, metrics: Nested, name: str) -> list[dict]:
    """The mean of a metric over two settings, one chart for each of the first arms."""
    from dgm_jax import plotting

    across, down = sweep.settings
    columns = [clean(value) for value in sweep.settings[across]]
    rows = [clean(value) for value in sweep.settings[down]]
    bases = list(dict.fromkeys(base for _, base in sweep.cells.values()))
    charts = []
    for base in bases[:_MAX_HEATMAPS]:
        means = _means_of_settings(sweep, metrics, name, base)
        title = f"{name}, mean over seeds"
        if len(bases) > 1:
            title += f": {base}"
        figure = plotting.heatmap_of_settings(
            means, columns, rows, title=title, xlabel=across, ylabel=down
        )
        alt = _sentence(sweep, metrics, name, f"{across} and {down}")
        charts.append(drawn(title, alt, figure, keep_colors=True))
    return charts


def _means_of_settings(sweep: Sweep, metrics: Nested, name: str, base: str) -> np.ndarray:
    """[values of the second setting, values of the first] of an arm; NaN without a mean."""
    across, down = sweep.settings
    columns = sweep.settings[across]
    rows = sweep.settings[down]
    means = np.full((len(rows), len(columns)), np.nan)
    for arm, (chosen, base_of_arm) in sweep.cells.items():
        mean = metrics.get(arm, {}).get(name, {}).get("mean")
        if base_of_arm == base and is_number(mean):
            row = rows.index(chosen[down])
            column = columns.index(chosen[across])
            means[row, column] = mean
    return means


def _seeds(metrics: Nested, arm: str, name: str) -> np.ndarray:
    """[S] of an arm's metric; empty if it was not measured."""
    try:
        summary = metrics.get(arm, {}).get(name, {})
        return per_seed_values(summary.get("per_seed") or [])
    except (ConfigError, TypeError, ValueError, OverflowError):
        return np.empty(0)


def _table(cells: dict, values: Sequence) -> np.ndarray:
    """[P, S] of {setting's value: [S]}."""
    widths = [len(cell) for cell in cells.values()]
    width = max([1, *widths])
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
        mean = number(summary.get("mean"))
        spread = interval(summary.get("interval_95"))
        cells.append(f"{arm}: {mean} {spread}")
    means = "; ".join(cells)
    return f"{name} against {setting}, mean over seeds and 95 % interval. {means}."
