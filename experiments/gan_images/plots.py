"""Plots of generated and real images."""

from typing import Any

import numpy as np

from dgm_jax import plotting
from dgm_jax.run import ArmResult, Inputs

SHOWN = 64  # images of each seed in the plots


def snapshots(result: ArmResult, inputs: Inputs, step: int) -> dict[str, tuple[Any, str]]:
    """Plot a grid of each seed's images at fixed noise.

    Args:
        result: an arm.
        inputs: arrays, identity and context of the run.
        step: the training step.

    Returns:
        {name: (plot, caption)}.
    """
    del inputs
    images = np.concatenate(result.arrays["images"][:, :24])
    figure = plotting.image_grid(
        images, num_columns=24, value_range=(-1.0, 1.0), title=f"step {step}"
    )
    return {
        "images": (
            figure,
            f"Images at fixed noise after {step} steps; one row for each seed.",
        )
    }


def plots(results: list[ArmResult], inputs: Inputs) -> dict[str, tuple[Any, str]]:
    """Plot the final images of each seed, and real ones.

    Args:
        results: the finished arms.
        inputs: arrays, identity and context of the run.

    Returns:
        {name: (plot, caption)}.
    """
    real = np.asarray(inputs.context["dataset"].test["image"][:SHOWN])
    plots = {
        "real": (
            plotting.image_grid(real, num_columns=16, title="real test images"),
            "Real test images.",
        )
    }
    for result in results:
        for seed, images in enumerate(result.arrays["images"]):
            figure = plotting.image_grid(
                images, num_columns=16, value_range=(-1.0, 1.0), title=f"seed {seed}"
            )
            plots[f"images_seed_{seed}"] = (
                figure,
                f"Generated images of seed {seed} at fixed noise, not selected.",
            )
    return plots
