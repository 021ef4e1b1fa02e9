"""Charts as pictures that a page holds: curves over training, and values over swept settings."""

from collections.abc import Iterable
from typing import Any

from dgm_jax.report.display import Display
from dgm_jax.report.history import History
from dgm_jax.report.pictures import data_address, png_of
from dgm_jax.report.summaries import Nested

MAX_CURVES = 24
_ALL_CHARACTERS = 450_000


def drawn(name: str, alt: str, figure: Any, *, keep_colors: bool = False) -> dict[str, Any]:
    """A chart as an entry of the page.

    matplotlib's SVG of such charts is one and a half times as large (22 to 25 kB against 13 to 18
    kB of PNG, measured on charts of ten steps and six seeds).

    Args:
        name: the chart's name.
        alt: a sentence for readers who cannot see the chart.
        figure: a matplotlib figure in the light theme; the page inverts its brightness in the dark
            one.
        keep_colors: whether the dark page shows the chart as it is, as for a heat map, whose colors
            would be read the wrong way round.

    Returns:
        `{"name", "alt", "source", "keep_colors"}`; the source is a data address.
    """
    content = png_of(figure)
    source = data_address(content)
    return {"name": name, "alt": alt, "source": source, "keep_colors": keep_colors}


def curves(history: History, metrics: Nested, display: Display) -> tuple[list[dict], int]:
    """Draws the charts over training, the headline first.

    A metric that is a level of another one is a dashed line in that one's chart.

    Args:
        history: the logged rows.
        metrics: summaries by arm and metric.
        display: what the experiment says about its metrics.

    Returns:
        The charts as rows of `drawn` with `"headline"`, and the number of metrics that
        were left out because the page would become too large.
    """
    # matplotlib takes a second to import, which a refused folder should not wait for
    from dgm_jax import plotting

    names = chart_names(history.metrics, metrics, display)
    steps, values = history.curves(names[:MAX_CURVES])
    columns = display.columns(metrics)
    rows = []
    left = _ALL_CHARACTERS
    for name in names[:MAX_CURVES]:
        arms = {}
        for arm, by_metric in values.items():
            if name in by_metric:
                arms[arm] = {name: by_metric[name]}
        if len(values) == 1 and arms:
            (curve,) = arms.values()
            arms = {"": curve}
        levels = {name: display.level(metrics, name)}
        extras = plotting.Extras(display.ranges, levels)
        figures = plotting.training_curves(steps, arms, extras=extras)
        alt = history.describe(name)
        row = drawn(name, alt, figures[name])
        left -= len(row["source"])
        if left < 0:
            break
        rows.append(row | {"headline": name in columns})
    return rows, len(names) - len(rows)


def chart_names(logged: Iterable[str], metrics: Nested, display: Display) -> list[str]:
    """The metrics in the order of their charts: the headline, then the others.

    Args:
        logged: metrics that were logged.
        metrics: summaries by arm and metric.
        display: what the experiment says about its metrics.

    Returns:
        Names without the levels that are drawn in another metric's chart.
    """
    logged = list(logged)
    placed = {other for name, other in display.levels.items() if name in logged}
    first = [name for name in display.columns(metrics) if name in logged]
    others = [name for name in logged if name not in placed]
    return list(dict.fromkeys([*first, *others]))
