"""All sides give the same distance."""

import importlib.util

from benchmarks.contract import require_close
from benchmarks.families.sample_distances import ours, peer

TOLERANCE, MOST_ROWS = 1e-3, 1_000  # relative


def check(kind: str, rows: int, features: int) -> dict:
    """Relative differences, on the first rows."""
    rows, peers = min(rows, MOST_ROWS), {"scikit-learn and scipy": peer}
    if importlib.util.find_spec("torch_fidelity") is not None:
        from benchmarks.families.sample_distances import fidelity

        peers["torch-fidelity"] = fidelity
    mine = float(getattr(ours, kind)(rows, features).call())
    differences = {
        name: abs(mine / float(getattr(side, kind)(rows, features).call()) - 1)
        for name, side in peers.items()
    }
    return {"relative_difference": require_close(differences, TOLERANCE)}
