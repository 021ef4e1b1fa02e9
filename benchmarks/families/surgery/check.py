"""Both sides give the same terms."""

import jax

from benchmarks.contract import require_close
from benchmarks.families.surgery import ours, peer

TOLERANCE, MOST_POINTS = 1e-4, 1_000


def check(points: int, latents: int) -> dict:
    """Relative differences, on the first points."""
    num = min(points, MOST_POINTS)
    mine = jax.jit(ours.terms)(*ours.operands(num, latents))
    theirs = peer.terms(*peer.operands(num, latents))
    differences = {n: abs(float(getattr(mine, n).mean) / v.item() - 1) for n, v in theirs.items()}
    return {"relative_difference_of_terms": require_close(differences, TOLERANCE)}
