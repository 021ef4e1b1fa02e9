"""Training a decoder-only transformer on random tokens: cross-entropy, Adam 3e-4. Seeds are trained
one after the other by `strategy="map"`, which is not what "auto" chooses (see `groups`)."""

from benchmarks import arithmetic
from benchmarks.families._shared import declaring

IDS, HEADS, NUM_ROWS = 512, 4, 1_024


def flops(width: int, layers: int, length: int, batch: int) -> float:
    """Of a step: attention counted over the whole square, as both sides compute it."""
    network = arithmetic.transformer(width, layers, length, IDS)
    return batch * length * arithmetic.trained(network, to_input=True)


def num_bytes(width: int, layers: int, length: int, batch: int) -> float:
    """Of the optimizer."""
    del batch
    weights = 12 * width * width * layers + (2 * IDS + length) * width
    return arithmetic.adam_bytes(weights)


BENCHMARKS = declaring.training(
    "transformer",
    {
        "small": {"width": 64, "layers": 2, "length": 49, "batch": 32},
        "large": {"width": 256, "layers": 4, "length": 256, "batch": 8},
    },
    flops,
    num_bytes,
    steps={"small": 20, "large": 10},
    ours={"ours, bfloat16": {"precision": "bfloat16"}},
    of_several={"strategy": "map"},
    peers={
        "torch eager": {},
        "torch compile": {"compiled": True, "slow": True},
        "torch eager, autocast bfloat16": {"autocast": True, "beside": True},
    },
)
