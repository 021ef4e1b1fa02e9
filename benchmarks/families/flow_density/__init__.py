"""Maximum likelihood of a coupling flow on vectors of standard normal noise: Adam 1e-3. Four affine
couplings, or rational-quadratic splines of eight bins. "flowjax" trains the same flow on its loss,
as many steps in one compiled program and as many seeds at once, by `jax.vmap`, as ours: its own
`fit_to_data` calls a program for each step. "flowjax scan" has a loop over the layers, as its
`coupling_flow` makes."""

from benchmarks import arithmetic
from benchmarks.families._shared import declaring

NUM_ROWS, COUPLINGS = 10_000, 4


def widths(dim: int, hidden: int, bins: int = 0) -> tuple[int, ...]:
    """Of a coupling's network: half of the numbers in; for each number of the other half shift and
    scale out, or the parameters of a spline."""
    return (dim // 2, hidden, hidden, (dim - dim // 2) * (3 * bins - 1 if bins else 2))


def flops(dim: int, hidden: int, batch: int, bins: int = 0) -> float:
    """Of a step; the first coupling sees data, which have no gradient."""
    coupling = arithmetic.dense(widths(dim, hidden, bins))
    later = (COUPLINGS - 1) * arithmetic.trained(coupling, to_input=True)
    return batch * (arithmetic.trained(coupling) + later)


def num_bytes(dim: int, hidden: int, batch: int, bins: int = 0) -> float:
    """Of the optimizer, and of the batch."""
    weights = COUPLINGS * arithmetic.num_weights(widths(dim, hidden, bins))
    return arithmetic.adam_bytes(weights) + arithmetic.FLOAT * batch * dim


BENCHMARKS = declaring.training(
    "flow_density",
    {
        "small": {"dim": 2, "hidden": 64, "batch": 256},
        "large": {"dim": 64, "hidden": 256, "batch": 256},
        "spline_small": {"dim": 2, "hidden": 64, "batch": 256, "bins": 8},
        "spline_large": {"dim": 64, "hidden": 256, "batch": 256, "bins": 8},
    },
    flops,
    num_bytes,
    steps={"small": 50, "large": 5, "spline_small": 50, "spline_large": 5},
    peers={
        "flowjax": {"target": "peer:train", "batched": True},
        "flowjax scan": {"target": "peer:train", "batched": True, "scanned": True},
    },
)
