"""How figures look: colours, dashes, axes, text."""

from collections.abc import Collection
from typing import Literal, NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dgm_jax.core import lookup

# Okabe and Ito 2008, "Color universal design"; their yellow, too pale for a thin line on white, is
# left out.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 2, 2)))
DOTS_PER_INCH = 110


class Theme(NamedTuple):
    """Colours of what is not data."""

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
    """An empty figure of so many inches with its Agg canvas; `layout` None leaves the margins to
    the caller."""
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
    """Gives axes the colours of a theme, and their texts."""
    colours = THEMES[theme]
    axes.set_facecolor(colours.background)
    for side, spine in axes.spines.items():
        spine.set_color(colours.grid)
        spine.set_visible(side in ("left", "bottom"))
    axes.tick_params(colors=colours.text, labelsize=9)
    axes.yaxis.set_offset_position("right")  # or a factor such as 1e-17 stands in the title
    axes.yaxis.get_offset_text().set_color(colours.text)
    axes.set_title(label(title), color=colours.text, fontsize=11, loc="left")
    axes.set_xlabel(label(xlabel), color=colours.text, fontsize=10)
    axes.set_ylabel(label(ylabel), color=colours.text, fontsize=10)
    if grid:
        axes.grid(True, color=colours.grid, linewidth=0.6)
        axes.set_axisbelow(True)


def legend(axes: Axes, theme: str, *, beside: bool = False, rows: int = 0) -> None:
    """A legend in the colours of a theme, where there is something to name; `beside` all panels,
    with larger dots, or beneath them where it has two `rows` or more."""
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
    """Rows of a legend beneath a chart: two names side by side where they fit; 1 says that so few
    names find room inside the chart."""
    columns = 1 if max(map(len, names), default=0) > 24 else 2
    return -(-len(names) // columns) if len(names) > 2 else 1


def label(text: object) -> str:
    """Text that matplotlib draws as it is: no mathematics between dollars, no control characters,
    at most 120 long.

    A leading underscore, by which matplotlib hides a label from the legend, gets a hair space
    before it.
    """
    clean = "".join(c if c.isprintable() or c == "\n" else "?" for c in str(text)).replace(
        "$", r"\$"
    )
    clean = clean if len(clean) <= 120 else clean[:117] + "..."
    return f"\u200a{clean}" if clean.startswith("_") else clean


def line_style(index: int, theme: str) -> dict:
    """Colour and dashes of the index-th line; the pairs repeat after 28."""
    palette = THEMES[theme].palette
    return {
        "color": palette[index % len(palette)],
        "linestyle": DASHES[(index % len(palette) + index // len(palette)) % len(DASHES)],
    }
