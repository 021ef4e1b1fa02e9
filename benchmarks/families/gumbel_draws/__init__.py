"""Draws of categorical variables by Gumbel noise: hard ones by Gumbel-max, relaxed ones by
Gumbel-softmax with their gradient."""

from benchmarks import arithmetic
from benchmarks.contract import PEER, Benchmark, Side

SIZES = {"small": (1_024, 64), "large": (16_384, 512)}


def _benchmark(size: str, kind: str) -> Benchmark:
    rows, classes = SIZES[size]
    options = {"rows": rows, "classes": classes}
    passes = {"gumbel_max": 1, "gumbel_softmax": 3}[kind]
    return Benchmark(
        name=f"{kind}_{size}",
        family="gumbel_draws",
        size=f"{kind}, {rows:,} x {classes}",
        unit="draws",
        sides={
            "ours": Side(f"gumbel_draws.ours:{kind}", options),
            "torch": Side(f"gumbel_draws.peer:{kind}", options, PEER),
        },
        num_bytes=float(arithmetic.FLOAT * classes * passes),
        unchecked="the two sides draw different random numbers",
    )


BENCHMARKS = [_benchmark(s, k) for s in SIZES for k in ("gumbel_max", "gumbel_softmax")]
