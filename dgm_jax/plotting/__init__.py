"""Plots: arrays in, a matplotlib `Figure` out.

Nothing is shown or written, and no global state is used. Every plot is drawn through matplotlib's
object interface with the Agg canvas, so it needs no display and works in threads. Colors are those
of Okabe and Ito, which are distinguishable with any color vision, and lines also differ by their
dashes. Every function takes `theme="light"` or `"dark"`.

Names are imported on first use: a run draws nothing before its first evaluation, and matplotlib
takes long to import.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dgm_jax.plotting.curves import Extras, lines, training_curves
    from dgm_jax.plotting.fields import heatmap_on_grid
    from dgm_jax.plotting.images import image_grid, image_strip_over_training
    from dgm_jax.plotting.scatter import scatter_groups, scatter_samples
    from dgm_jax.plotting.style import PALETTE, THEMES
    from dgm_jax.plotting.sweeps import heatmap_of_settings, values_by_setting

_HOME = {
    "PALETTE": "style",
    "THEMES": "style",
    "Extras": "curves",
    "heatmap_of_settings": "sweeps",
    "heatmap_on_grid": "fields",
    "image_grid": "images",
    "image_strip_over_training": "images",
    "lines": "curves",
    "scatter_groups": "scatter",
    "scatter_samples": "scatter",
    "training_curves": "curves",
    "values_by_setting": "sweeps",
}

__all__ = [
    "PALETTE",
    "THEMES",
    "Extras",
    "heatmap_of_settings",
    "heatmap_on_grid",
    "image_grid",
    "image_strip_over_training",
    "lines",
    "scatter_groups",
    "scatter_samples",
    "training_curves",
    "values_by_setting",
]


def __getattr__(name: str) -> object:
    """Import the module of a name when the name is first used.

    Args:
        name: the attribute asked for.

    Returns:
        The function or class.

    Raises:
        AttributeError: an unknown name.
    """
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
