"""Two sets of feature vectors."""

import numpy as np


def operands(rows: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """(real, fake), float32 [rows, features]: a normal set, and a narrower one beside it."""
    drawn = np.random.default_rng(0).normal(size=(2, rows, features)).astype(np.float32)
    return drawn[0], 0.9 * drawn[1] + np.float32(0.1)
