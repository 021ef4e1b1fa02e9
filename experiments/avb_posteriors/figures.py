"""Draws of each family over the exact density."""

import numpy as np

from dgm_jax import plotting
from dgm_jax.densities.posteriors import POSTERIORS
from dgm_jax.evaluation.histogram import Cells, centers
from dgm_jax.experiments.avb_posteriors.measure import split_arm
from dgm_jax.run import Inputs

PICTURE = Cells(-4.0, 4.0, 240)
AXES = {"eight_schools": ("mu", "tau"), "eight_schools_signed": ("mu", "tau")}


def _density(posterior: str, inputs: Inputs):
    """log p over the picture, [y, x], blank where the density is below e^-12."""
    log_p = (
        POSTERIORS[posterior].plane_log_density(centers(PICTURE))
        - inputs.arrays[posterior]["log_normaliser"]
    )
    log_p = np.asarray(log_p, np.float64).reshape(PICTURE.num, PICTURE.num).T
    return np.where(log_p > -12, log_p, np.nan)


def _draws_over_density(result, inputs: Inputs, title: str):
    posterior, _ = split_arm(result.config.arm[0])
    xlabel, ylabel = AXES.get(posterior, ("a", "b"))
    axis = np.asarray(centers(PICTURE)).reshape(PICTURE.num, PICTURE.num, 2)[0, :, 1]
    return plotting.heatmap_on_grid(
        _density(posterior, inputs),
        axis,
        axis,
        titles=[title],
        color_label="exact log-density, nats",
        xlabel=xlabel,
        ylabel=ylabel,
        points=np.asarray(result.arrays["z"])[0][:600],
    )


def figures(results, inputs: Inputs) -> dict:
    """Draws of the first seed over the exact density, one picture an arm."""
    caption = "{}, first seed: 600 draws (first two quantities) over the exact log-density."
    return {
        f"draws_{r.name.replace('/', '_')}": (
            _draws_over_density(r, inputs, r.name),
            caption.format(r.name),
        )
        for r in results
    }


def snapshots(result, inputs: Inputs, step: int) -> dict:
    """The same during training."""
    title = f"{result.name}, step {step}"
    return {
        "draws": (
            _draws_over_density(result, inputs, title),
            f"{title}: draws over the exact log-density.",
        )
    }
