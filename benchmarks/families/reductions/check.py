"""Ours and XLA's give the same, for numbers of size 1 within the rounding of their sums."""

import numpy as np

from benchmarks.contract import require_close
from benchmarks.families.reductions import ours, xla

TOLERANCE = 1e-4  # of the largest value


def check(kind: str, options: dict) -> dict:
    """The largest difference, relative to the largest value."""
    a, b = (np.asarray(getattr(side, kind)(**options).call()) for side in (ours, xla))
    difference = float(np.abs(a - b).max() / np.abs(b).max())
    return {"relative_difference": require_close({kind: difference}, TOLERANCE)}
