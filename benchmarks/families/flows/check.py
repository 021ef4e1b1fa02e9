"""All sides give the same vectors and log-determinants."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contract import require_close
from benchmarks.families._shared.engine import normal
from benchmarks.families.flows import ours, peer

TOLERANCE, ROWS = 1e-4, 256  # relative to the largest number


def check(kind: str, direction: str, dim: int) -> dict:
    """Relative differences, on vectors that the splines change and some that they do not."""
    x = jnp.asarray(3 * normal(ROWS, dim))
    mine = jax.jit(ours.run(kind, direction, dim))(ours.moved_params(kind, dim), x)
    differences = {}
    for name, scanned in (("flowjax", False), ("flowjax scan", True)):
        function, arrays = peer.run(kind, direction, dim, scanned)
        theirs = jax.jit(function)(arrays, x)
        for part, a, b in zip(("vectors", "log-determinants"), mine, theirs, strict=True):
            differences[f"{name}, {part}"] = float(np.abs(a - b).max() / np.abs(a).max())
    return {"relative_difference": require_close(differences, TOLERANCE)}
