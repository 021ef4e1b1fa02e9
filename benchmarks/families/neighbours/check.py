"""Both sides give the same scores."""

from benchmarks.contract import require_close
from benchmarks.families._shared.features import operands
from benchmarks.families.neighbours import ours, peer

TOLERANCE, MOST_ROWS = 2e-3, 1_000  # two rows of a thousand may lie on a border up to rounding


def check(rows: int, features: int) -> dict:
    """Differences, on the first rows."""
    real, fake = operands(min(rows, MOST_ROWS), features)
    mine, theirs = ours.evaluate(real, fake), peer.evaluate(real, fake)
    differences = {name: abs(float(getattr(mine, name)) - v) for name, v in theirs.items()}
    return {"difference_of_scores": require_close(differences, TOLERANCE)}
