"""The scores by scikit-learn's neighbours, and by prdc."""

import contextlib
import io

import numpy as np
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from benchmarks.contract import Case
from benchmarks.families._shared.features import operands
from benchmarks.families.neighbours import NEAREST


def radii(x: np.ndarray) -> np.ndarray:
    """Distances to the k-th neighbour, the row itself not counted."""
    found = NearestNeighbors(n_neighbors=NEAREST + 1, algorithm="brute").fit(x)
    return found.kneighbors(x)[0][:, -1]


def evaluate(real: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    """All four scores, from the whole matrix of distances."""
    between = pairwise_distances(real, fake)
    in_real = between <= radii(real)[:, None]
    in_fake = between <= radii(fake)[None, :]
    return {
        "precision": float(in_real.any(0).mean()),
        "recall": float(in_fake.any(1).mean()),
        "density": float(in_real.sum() / NEAREST / len(fake)),
        "coverage": float(in_real.any(1).mean()),
    }


def scores(rows: int, features: int) -> Case:
    """Of both sets."""
    real, fake = operands(rows, features)
    return Case(lambda: evaluate(real, fake), rows)


def evaluate_by_prdc(real: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    """All four scores; that package prints the numbers of rows at every call."""
    from prdc import compute_prdc

    with contextlib.redirect_stdout(io.StringIO()):
        found = compute_prdc(real_features=real, fake_features=fake, nearest_k=NEAREST)
    return {name: float(value) for name, value in found.items()}


def scores_by_prdc(rows: int, features: int) -> Case:
    """Of both sets."""
    real, fake = operands(rows, features)
    return Case(lambda: evaluate_by_prdc(real, fake), rows)
