"""The plotting room: arrays in, a matplotlib `Figure` out, nothing shown, nothing written, no
global state.

Every figure is drawn through matplotlib's object interface with the Agg canvas, so it needs no
display and is safe in threads. Colours are those of Okabe and Ito, which people with any colour
vision can tell apart, and each line has a dash pattern of its own beside its colour; every function
takes `theme="light"` or `"dark"`.
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
