"""Maximum likelihood of a coupling flow on vectors of standard normal noise: Adam 1e-3."""

from benchmarks import arithmetic
from benchmarks.families._shared import declaring

NUM_ROWS, COUPLINGS = 10_000, 4


def coupling(dim: int, hidden: int) -> list[float]:
    """Operations of one coupling's network: all numbers in, shift and scale of all out."""
    return arithmetic.dense((dim, hidden, hidden, 2 * dim))


def flops(dim: int, hidden: int, batch: int) -> float:
    """Of a step."""
    return batch * COUPLINGS * arithmetic.trained(coupling(dim, hidden), to_input=True)


def num_bytes(dim: int, hidden: int, batch: int) -> float:
    """Of the optimizer, and of the batch."""
    weights = COUPLINGS * arithmetic.num_weights((dim, hidden, hidden, 2 * dim))
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
