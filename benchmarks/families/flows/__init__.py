"""Flows of vectors, forward and inverse, with their log-determinants."""

from benchmarks import arithmetic
from benchmarks.contract import Benchmark, Side

KINDS = ("coupling_flow", "spline_flow", "autoregressive_flow")
SIZES = {"small": (8, 1_024), "large": (64, 4_096)}


def _benchmark(size: str, kind: str, direction: str) -> Benchmark:
    dim, batch = SIZES[size]
    options = {"kind": kind, "direction": direction, "dim": dim, "batch": batch}
    return Benchmark(
        name=f"{kind}_{direction}_{size}",
        family="flows",
        size=f"{kind}, {direction}, {batch:,} x {dim}",
        unit="vectors",
        sides={"ours": Side("flows.ours:apply", options)},
        num_bytes=float(arithmetic.FLOAT * (2 * dim + 1)),
        unchecked="no peer is measured",
    )


BENCHMARKS = [
    _benchmark(size, kind, direction)
    for size in SIZES
    for kind in KINDS
    for direction in ("forward", "inverse")
]
