"""All sides have the same loss and the same gradient, in float64: in float32 the lengths of the
gradients of the large spline flow differed by .6 %, by rounding."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flowjax.train.losses import MaximumLikelihoodLoss

from benchmarks.contract import require_close
from benchmarks.families._shared import engine as shared
from benchmarks.families.flow_density import ours, peer

TOLERANCE = 1e-9  # relative


def check(shape: dict[str, int]) -> dict:
    """Relative differences of the loss and of the length of its gradient, away from the start."""
    with jax.enable_x64(True):
        differences = _differences(shape)
    return {"relative_difference": require_close(differences, TOLERANCE)}


def _differences(shape: dict[str, int]) -> dict[str, float]:
    flow = ours.flow_of(shape["dim"], shape["hidden"], shape.get("bins", 0))
    start, x = flow.init(jax.random.key(0)), jnp.asarray(shared.normal(256, shape["dim"]), float)
    noise = lambda w: w + 0.05 * jax.random.normal(jax.random.key(1), w.shape, w.dtype)
    params = jax.tree.map(noise, start)
    mine = jax.jit(jax.value_and_grad(lambda params: ours.loss(flow, params, x)))(params)
    differences = {}
    for name, scanned in (("flowjax", False), ("flowjax scan", True)):
        value_and_slopes = eqx.filter_value_and_grad(MaximumLikelihoodLoss())
        theirs = eqx.filter_jit(value_and_slopes)(*peer.parts(params, shape, scanned), x)
        for part, a, b in zip(("loss", "gradient"), mine, theirs, strict=True):
            differences[f"{name}, {part}"] = abs(_length(b) / _length(a) - 1)
    return differences


def _length(tree) -> float:
    return float(np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(tree))))
