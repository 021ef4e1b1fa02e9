"""Flows of vectors, forward and inverse, with their log-determinants, beside flowjax. Four
couplings, affine or rational-quadratic splines of eight bins, whose networks have two hidden layers
of 64; or two masked autoregressive maps. "flowjax" is its `Chain` of couplings, "flowjax scan" a
loop over the layers, as its `coupling_flow` makes; both have the weights and the parametrization of
ours, and are the same function. Of the autoregressive maps there is no peer: flowjax masks its
networks otherwise."""

from benchmarks import arithmetic
from benchmarks.contract import PEER, Benchmark, Side

SIZES = {"small": (8, 1_024), "large": (64, 4_096)}
HIDDEN, BINS = (64, 64), 8
COUPLINGS, MAPS = 4, 2
COUPLED = {"coupling_flow": 2, "spline_flow": 3 * BINS - 1}  # parameters of a moved number
KINDS = (*COUPLED, "autoregressive_flow")


def flops(kind: str, direction: str, dim: int) -> float:
    """Of a vector: one pass of each network, and `dim` of an autoregressive one backwards."""
    if kind in COUPLED:
        widths = (dim // 2, *HIDDEN, dim // 2 * COUPLED[kind])
        return COUPLINGS * arithmetic.forward(arithmetic.dense(widths))
    passes = dim if direction == "inverse" else 1
    return MAPS * passes * arithmetic.forward(arithmetic.dense((dim, *HIDDEN, 2 * dim)))


def _benchmark(size: str, kind: str, direction: str) -> Benchmark:
    dim, batch = SIZES[size]
    work = {"kind": kind, "direction": direction, "dim": dim}
    options, has_peer = {**work, "batch": batch}, kind in COUPLED
    peers = {
        "flowjax": Side("flows.peer:apply", options, PEER),
        "flowjax scan": Side("flows.peer:apply", {**options, "scanned": True}, PEER),
    }
    return Benchmark(
        name=f"{kind}_{direction}_{size}",
        family="flows",
        size=f"{kind}, {direction}, {batch:,} x {dim}",
        unit="vectors",
        sides={"ours": Side("flows.ours:apply", options)} | (peers if has_peer else {}),
        flops=flops(**work),
        num_bytes=float(arithmetic.FLOAT * (2 * dim + 1)),
        check=Side("flows.check:check", work) if has_peer else None,
        unchecked="" if has_peer else "no peer is measured",
    )


BENCHMARKS = [
    _benchmark(size, kind, direction)
    for size in SIZES
    for kind in KINDS
    for direction in ("forward", "inverse")
]
