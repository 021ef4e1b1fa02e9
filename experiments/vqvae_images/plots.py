"""Plots of samples, reconstructions and real images."""

from typing import Any

import numpy as np

from dgm_jax import plotting
from dgm_jax.run import ArmResult, Inputs

SHOWN = 48  # images of each seed in the plots


def snapshots(result: ArmResult, inputs: Inputs, step: int) -> dict[str, tuple[Any, str]]:
    """Plot samples of each seed at fixed noise.

    Args:
        result: an arm.
        inputs: arrays, identity and context of the run.
        step: the training step.

    Returns:
        {name: (plot, caption)}.
    """
    del inputs
    images = np.concatenate(result.arrays["samples"][:, :24])
    figure = plotting.image_grid(
        images, num_columns=24, value_range=(-1.0, 1.0), title=f"step {step}"
    )
    return {"samples": (figure, f"Samples at fixed noise after {step} steps; each seed has a row.")}


def plots(results: list[ArmResult], inputs: Inputs) -> dict[str, tuple[Any, str]]:
    """Plot real images, their reconstructions, and samples of prior and decoder.

    Args:
        results: the finished arms.
        inputs: arrays, identity and context of the run.

    Returns:
        {name: (plot, caption)}.
    """
    real = np.asarray(inputs.context.test["image"][:SHOWN])
    plots = {
        "real": (
            plotting.image_grid(real, num_columns=16, title="test images"),
            "Real test images.",
        )
    }
    for result in results:
        for name, text in (
            ("reconstructions", "Those images through the codes"),
            ("samples", "Not selected samples"),
        ):
            for seed, images in enumerate(result.arrays[name]):
                title = f"{name}, seed {seed}"
                figure = plotting.image_grid(
                    images, num_columns=16, value_range=(-1.0, 1.0), title=title
                )
                plots[f"{name}_seed_{seed}"] = (figure, f"{text}; seed {seed}.")
    return plots
