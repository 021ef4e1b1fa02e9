"""Plots of each family's draws over the exact density."""

from typing import Any

import numpy as np

from dgm_jax import plotting
from dgm_jax.densities.posteriors import POSTERIORS
from dgm_jax.evaluation.histogram import Cells, centers
from dgm_jax.experiments.avb_posteriors.measure import split_arm
from dgm_jax.run import ArmResult, Inputs

PICTURE = Cells(-4.0, 4.0, 240)
AXES = {"eight_schools": ("mu", "tau"), "eight_schools_signed": ("mu", "tau")}


def _density(posterior: str, inputs: Inputs):
    """log p over the plane, [y, x], NaN where the density is below e^-12."""
    log_f = POSTERIORS[posterior].plane_log_density(centers(PICTURE))
    log_p = log_f - inputs.arrays[posterior]["log_normalizer"]
    log_p = np.asarray(log_p, np.float64).reshape(PICTURE.num, PICTURE.num).T
    return np.where(log_p > -12, log_p, np.nan)


def _draws_over_density(result: ArmResult, inputs: Inputs, title: str):
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


def plots(results: list[ArmResult], inputs: Inputs) -> dict[str, tuple[Any, str]]:
    """Plot draws of the first seed over the exact density, one plot an arm.

    Args:
        results: the finished arms.
        inputs: arrays, identity and context of the run.

    Returns:
        {name: (plot, caption)}.
    """
    caption = "{}, first seed: 600 draws (first two quantities) over the exact log-density."
    return {
        f"draws_{r.name.replace('/', '_')}": (
            _draws_over_density(r, inputs, r.name),
            caption.format(r.name),
        )
        for r in results
    }


def snapshots(result: ArmResult, inputs: Inputs, step: int) -> dict[str, tuple[Any, str]]:
    """Plot the draws during training.

    Args:
        result: an arm.
        inputs: arrays, identity and context of the run.
        step: the training step.

    Returns:
        {name: (plot, caption)}.
    """
    title = f"{result.name}, step {step}"
    return {
        "draws": (
            _draws_over_density(result, inputs, title),
            f"{title}: draws over the exact log-density.",
        )
    }
