"""Images of noise: no time here depends on what they show."""

import numpy as np


def noise_images(num: int) -> np.ndarray:
    """uint8 [num, 28, 28, 1]."""
    return np.random.default_rng(0).integers(0, 256, (num, 28, 28, 1), dtype=np.uint8)


def binary_images(num: int) -> np.ndarray:
    """uint8 0 or 1 [num, 28, 28, 1]."""
    return noise_images(num) % 2
