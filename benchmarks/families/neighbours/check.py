"""All sides give the same scores."""

import importlib.util

from benchmarks.contract import require_close
from benchmarks.families._shared.features import operands
from benchmarks.families.neighbours import ours, peer

# Two rows of a thousand may lie on a border up to rounding, and two pairs of a thousand where a
# density counts pairs: it can be far above 1.
TOLERANCE, MOST_ROWS = 2e-3, 1_000


def check(rows: int, features: int) -> dict:
    """Differences, on the first rows."""
    real, fake = operands(min(rows, MOST_ROWS), features)
    mine, peers = ours.evaluate(real, fake), {"scikit-learn": peer.evaluate(real, fake)}
    if importlib.util.find_spec("prdc") is not None:
        peers["prdc"] = peer.evaluate_by_prdc(real, fake)
    differences = {
        f"{name}, {score}": abs(float(getattr(mine, score)) - value) / max(1.0, value)
        for name, theirs in peers.items()
        for score, value in theirs.items()
    }
    return {"difference_of_scores": require_close(differences, TOLERANCE)}
