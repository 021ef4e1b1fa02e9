"""How plots look: colors, dashes, axes, text."""

from collections.abc import Collection
from typing import Any, Literal, NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dgm_jax.core import lookup

# Okabe and Ito 2008, "Color universal design", without their yellow, which is too pale for a thin
# line on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 2, 2)))
DOTS_PER_INCH = 110


class Theme(NamedTuple):
    """Colors of everything but the data, and the palette of the data.

    Attributes:
        background: of the plot.
        text: of titles, labels and ticks.
        grid: of grid and axes.
        palette: colors of lines and groups.
    """

    background: str
    text: str
    grid: str
    palette: tuple[str, ...]


THEMES = {
    "light": Theme("#ffffff", "#24292f", "#d9dde2", PALETTE),
    "dark": Theme(
        "#161b22", "#d5dae0", "#39414b", ("#4BA3DB", "#F0803C", "#2FC79A", *PALETTE[3:6], "#A0A0A0")
    ),
}


def new_figure(
    width: float,
    height: float,
    theme: str = "light",
    layout: Literal["constrained"] | None = "constrained",
) -> Figure:
    """Create an empty figure with its Agg canvas.

    Args:
        width: in inches.
        height: in inches.
        theme: "light" or "dark".
        layout: matplotlib's layout engine; None leaves the margins to the caller.

    Returns:
        The figure.

    Raises:
        ConfigError: for another theme.
    """
    figure = Figure(
        figsize=(width, height),
        dpi=DOTS_PER_INCH,
        layout=layout,
        facecolor=lookup(THEMES, theme, "plotting theme").background,
    )
    FigureCanvasAgg(figure)
    return figure


def dress(
    axes: Axes,
    theme: str,
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    grid: bool = True,
) -> None:
    """Give axes the colors of a theme, and their texts.

    Args:
        axes: the axes, changed in place.
        theme: "light" or "dark".
        title: title of the axes.
        xlabel: label of the horizontal axis.
        ylabel: label of the vertical axis.
        grid: whether to draw a grid.
    """
    colors = THEMES[theme]
    axes.set_facecolor(colors.background)
    for side, spine in axes.spines.items():
        spine.set_color(colors.grid)
        spine.set_visible(side in ("left", "bottom"))
    axes.tick_params(colors=colors.text, labelsize=9)
    # Otherwise a factor such as 1e-17 would be drawn over the title.
    axes.yaxis.set_offset_position("right")
    axes.yaxis.get_offset_text().set_color(colors.text)
    axes.set_title(label(title), color=colors.text, fontsize=11, loc="left")
    axes.set_xlabel(label(xlabel), color=colors.text, fontsize=10)
    axes.set_ylabel(label(ylabel), color=colors.text, fontsize=10)
    if grid:
        axes.grid(True, color=colors.grid, linewidth=0.6)
        axes.set_axisbelow(True)


def legend(axes: Axes, theme: str, *, beside: bool = False, rows: int = 0) -> None:
    """Add a legend in the colors of a theme, if there is something to name.

    Args:
        axes: the axes whose lines are named.
        theme: "light" or "dark".
        beside: place it beside all panels, with larger dots.
        rows: with two or more, place it beneath the panels in so many rows.
    """
    handles, labels = axes.get_legend_handles_labels()
    shared = {"fontsize": 9, "frameon": False, "labelcolor": THEMES[theme].text}
    if handles and beside:
        axes.figure.legend(handles, labels, loc="outside right upper", markerscale=5, **shared)
    elif handles and rows > 1:
        columns = -(-len(handles) // rows)
        loc = "outside lower center" if axes.figure.get_layout_engine() else "lower center"
        axes.figure.legend(handles, labels, loc=loc, ncols=columns, **shared)
    elif handles:
        axes.legend(handles, labels, **shared)


def rows_beneath(names: Collection[str]) -> int:
    """Count the rows of a legend beneath a plot, with two names side by side if they fit.

    Args:
        names: names in the legend.

    Returns:
        The number of rows; 1 if the names are so few that the legend fits inside the plot.
    """
    columns = 1 if max(map(len, names), default=0) > 24 else 2
    return -(-len(names) // columns) if len(names) > 2 else 1


def label(text: object) -> str:
    """Make text safe for matplotlib.

    No mathematics between dollars, no control characters, at most 120 characters. Text with a
    leading underscore, which matplotlib would hide from the legend, gets a hair space before it.

    Args:
        text: any value.

    Returns:
        The text to draw.
    """
    printable = "".join(c if c.isprintable() or c == "\n" else "?" for c in str(text))
    clean = printable.replace("$", r"\$")
    clean = clean if len(clean) <= 120 else clean[:117] + "..."
    return f"\u200a{clean}" if clean.startswith("_") else clean


def line_style(index: int, theme: str) -> dict[str, Any]:
    """Choose color and dashes of a line; the pairs repeat after 28.

    Args:
        index: number of the line.
        theme: "light" or "dark".

    Returns:
        Keyword arguments of matplotlib's `plot`.
    """
    palette = THEMES[theme].palette
    turn, place = divmod(index, len(palette))
    return {
        "color": palette[place],
        "linestyle": DASHES[(place + turn) % len(DASHES)],
    }
