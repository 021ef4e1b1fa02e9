"""Plots of draws from the four posteriors."""

from typing import Any

import numpy as np

from dgm_jax import plotting
from dgm_jax.run import ArmResult, Inputs


def _posteriors(result: ArmResult, num_seeds: int):
    z = np.asarray(result.arrays["z"])[:num_seeds]
    titles = [f"{result.name}, seed {i}" for i in range(len(z))]
    names = [f"x = {i}" for i in range(4)]
    return plotting.scatter_groups(z, names, limits=(-4, 4, -4, 4), titles=titles)


def plots(results: list[ArmResult], inputs: Inputs) -> dict[str, tuple[Any, str]]:
    """Plot q(z | x) of the four points, a panel a seed.

    Args:
        results: the finished arms.
        inputs: arrays, identity and context of the run.

    Returns:
        {name: (plot, caption)}.
    """
    caption = "{}: draws of q(z | x), a color for each of the four points; the prior is N(0, I)."
    return {f"posteriors_{r.name}": (_posteriors(r, 8), caption.format(r.name)) for r in results}


def snapshots(result: ArmResult, inputs: Inputs, step: int) -> dict[str, tuple[Any, str]]:
    """Plot the first seed's posteriors during training.

    Args:
        result: an arm.
        inputs: arrays, identity and context of the run.
        step: the training step.

    Returns:
        {name: (plot, caption)}.
    """
    return {
        "posteriors": (
            _posteriors(result, 1),
            f"{result.name}: draws of q(z | x) after {step} steps.",
        )
    }
