"""Draws of the four posteriors."""

import numpy as np

from dgm_jax import plotting
from dgm_jax.run import Inputs


def _posteriors(result, num_seeds: int):
    z = np.asarray(result.arrays["z"])[:num_seeds]
    titles = [f"{result.name}, seed {i}" for i in range(len(z))]
    return plotting.scatter_groups(
        z, [f"x = {i}" for i in range(4)], limits=(-4, 4, -4, 4), titles=titles
    )


def figures(results, inputs: Inputs) -> dict:
    """q(z | x) of the four points, a panel a seed."""
    caption = "{}: draws of q(z | x), a colour for each of the four points; the prior is N(0, I)."
    return {f"posteriors_{r.name}": (_posteriors(r, 8), caption.format(r.name)) for r in results}


def snapshots(result, inputs: Inputs, step: int) -> dict:
    """The first seed's posteriors during training."""
    return {
        "posteriors": (
            _posteriors(result, 1),
            f"{result.name}: draws of q(z | x) after {step} steps.",
        )
    }
