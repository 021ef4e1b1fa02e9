"""All sides give the same terms."""

import jax

from benchmarks.contract import require_close
from benchmarks.families.surgery import ours, peer

TOLERANCE, MOST_POINTS = 1e-4, 1_000


def check(points: int, latents: int, joint: bool) -> dict:
    """Relative differences, on the first points."""
    num = min(points, MOST_POINTS)
    mine = jax.jit(ours.joint_terms if joint else ours.terms)(*ours.operands(num, latents))
    differences = {}
    for products in (False, True):
        theirs = peer.terms(*peer.operands(num, latents), joint=joint, products=products)
        for name, value in theirs.items():
            difference = abs(float(mine[name]) / value.item() - 1)
            differences[f"{name}{', products' * products}"] = difference
    return {"relative_difference_of_terms": require_close(differences, TOLERANCE)}
