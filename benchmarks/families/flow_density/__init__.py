"""Maximum likelihood of a coupling flow on vectors of standard normal noise: Adam 1e-3."""

from benchmarks import arithmetic
from benchmarks.families._shared import declaring

NUM_ROWS, COUPLINGS = 10_000, 4


def widths(dim: int, hidden: int) -> tuple[int, ...]:
    """Of a coupling's network: half of the numbers in, shift and scale of the other half out."""
    return (dim // 2, hidden, hidden, dim)


def flops(dim: int, hidden: int, batch: int) -> float:
    """Of a step; the first coupling sees data, which have no gradient."""
    coupling = arithmetic.dense(widths(dim, hidden))
    later = (COUPLINGS - 1) * arithmetic.trained(coupling, to_input=True)
    return batch * (arithmetic.trained(coupling) + later)


def num_bytes(dim: int, hidden: int, batch: int) -> float:
    """Of the optimizer, and of the batch."""
    weights = COUPLINGS * arithmetic.num_weights(widths(dim, hidden))
    return arithmetic.adam_bytes(weights) + arithmetic.FLOAT * batch * dim


BENCHMARKS = declaring.training(
    "flow_density",
    {
        "small": {"dim": 2, "hidden": 64, "batch": 256},
        "large": {"dim": 64, "hidden": 256, "batch": 256},
    },
    flops,
    num_bytes,
    steps={"small": 50, "large": 5},
    unchecked="no peer is measured",
)
