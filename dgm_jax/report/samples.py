"""Samples of a trained model as a picture."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dgm_jax import plotting
from dgm_jax.core import require

MAX_COLUMNS = 32


def samples_figure(samples: ArrayLike, dataset: dict, title: str = "") -> Any:
    """Draws samples: images side by side, or points of the plane with a panel for each seed.

    Images of several seeds have rows of their own, one seed after the other. Pixels are in [-1, 1]
    if the data's scaling is "symmetric", else in [0, 1].

    Args:
        samples: [S, N, H, W, C] images or [S, N, 2] points.
        dataset: the recorded description of the data.
        title: of the figure.

    Returns:
        A matplotlib figure.

    Raises:
        ConfigError: the samples are neither images [H, W, C] nor points [2].
    """
    samples = np.asarray(samples)
    if samples.ndim == 3 and samples.shape[-1] == 2:
        return plotting.scatter_samples(samples, title=title)
    require(
        samples.ndim == 5,
        f"samples of shape {samples.shape[2:]} cannot be drawn: give --out NAME.npz",
    )
    seeds, num = samples.shape[:2]
    columns = math.ceil(math.sqrt(num)) if seeds == 1 else _divisor(num)
    low = -1.0 if dataset.get("scaling") == "symmetric" else 0.0
    return plotting.image_grid(
        samples.reshape(-1, *samples.shape[2:]),
        num_columns=columns,
        value_range=(low, 1.0),
        title=title,
    )


def _divisor(num: int) -> int:
    """The largest divisor up to MAX_COLUMNS."""
    return max(n for n in range(1, min(num, MAX_COLUMNS) + 1) if num % n == 0)
