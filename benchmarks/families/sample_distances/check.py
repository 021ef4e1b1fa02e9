"""Both sides give the same distance."""

from benchmarks.contract import require_close
from benchmarks.families.sample_distances import ours, peer

TOLERANCE, MOST_ROWS = 1e-3, 1_000  # relative


def check(kind: str, rows: int, features: int) -> dict:
    """Relative difference, on the first rows."""
    rows = min(rows, MOST_ROWS)
    mine, theirs = (getattr(side, kind)(rows, features).call() for side in (ours, peer))
    differences = {kind: abs(float(mine) / float(theirs) - 1)}
    return {"relative_difference": require_close(differences, TOLERANCE)}
