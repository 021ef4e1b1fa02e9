"""Distances of two sets of features: the kernel distance beside the definition by scikit-learn's
polynomial kernel, and the Frechet distance beside scipy's square root of a matrix."""

from benchmarks import arithmetic
from benchmarks.contract import PEER, Benchmark, Side

# the last: features of the Inception network
SIZES = {"small": (1_000, 64), "large": (5_000, 512), "inception": (5_000, 2_048)}


def _benchmark(size: str, kind: str) -> Benchmark:
    rows, features = SIZES[size]
    options = {"rows": rows, "features": features}
    pairs = 3 * arithmetic.product(rows, features, rows)
    return Benchmark(
        name=f"{kind}_distance_{size}",
        family="sample_distances",
        size=f"{kind}, {rows:,} + {rows:,} x {features}",
        unit="distances",
        sides={
            "ours": Side(f"sample_distances.ours:{kind}", options),
            "scikit-learn and scipy": Side(f"sample_distances.peer:{kind}", options, PEER),
        },
        flops=pairs if kind == "kernel" else None,
        check=Side("sample_distances.check:check", {"kind": kind, **options}),
    )


BENCHMARKS = [_benchmark(size, kind) for size in SIZES for kind in ("kernel", "frechet")]
