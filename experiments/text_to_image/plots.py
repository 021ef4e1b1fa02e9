"""Plots of images drawn from captions, a column a class."""

from typing import Any

import numpy as np

from dgm_jax import plotting
from dgm_jax.run import ArmResult, Inputs


def _by_class(images: np.ndarray, num_classes: int, rows: int = 8) -> np.ndarray:
    """The first `rows` images of each class, classes side by side."""
    return np.concatenate([images[i * num_classes : (i + 1) * num_classes] for i in range(rows)])


def snapshots(result: ArmResult, inputs: Inputs, step: int) -> dict[str, tuple[Any, str]]:
    """Plot a column for each class of the first seed, at fixed noise.

    Args:
        result: an arm.
        inputs: arrays, identity and context of the run.
        step: the training step.

    Returns:
        {name: (plot, caption)}.
    """
    names = inputs.context["set"].info.class_names
    images = _by_class(result.arrays["images"][0], len(names), 4)
    figure = plotting.image_grid(images, num_columns=len(names), title=f"step {step}")
    return {"samples": (figure, f"After {step} steps; columns: {', '.join(names)}.")}


def plots(results: list[ArmResult], inputs: Inputs) -> dict[str, tuple[Any, str]]:
    """Plot a grid for each seed, a column a class.

    Args:
        results: the finished arms.
        inputs: arrays, identity and context of the run.

    Returns:
        {name: (plot, caption)}.
    """
    names = inputs.context["set"].info.class_names
    plots = {}
    for result in results:
        for seed, images in enumerate(result.arrays["images"]):
            figure = plotting.image_grid(
                _by_class(images, len(names)), num_columns=len(names), title=f"seed {seed}"
            )
            plots[f"captions_seed_{seed}"] = (
                figure,
                f"Not selected; columns: a(n) {', '.join(names)}.",
            )
    return plots
