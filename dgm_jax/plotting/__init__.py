"""Plots: arrays in, a matplotlib `Figure` out.

Nothing is shown or written, and no global state is used. Every plot is drawn through matplotlib's
object interface with the Agg canvas, so it needs no display and works in threads. Colors are those
of Okabe and Ito, which are distinguishable with any color vision, and lines also differ by their
dashes. Every function takes `theme="light"` or `"dark"`.
"""

from dgm_jax.plotting.curves import Extras, lines, training_curves
from dgm_jax.plotting.fields import heatmap_on_grid
from dgm_jax.plotting.images import image_grid, image_strip_over_training
from dgm_jax.plotting.scatter import scatter_groups, scatter_samples
from dgm_jax.plotting.style import PALETTE, THEMES
from dgm_jax.plotting.sweeps import heatmap_of_settings, values_by_setting

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
