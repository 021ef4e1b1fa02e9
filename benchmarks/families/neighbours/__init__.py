"""Precision, recall, density and coverage of two sets of features, beside scikit-learn's exact
neighbours by brute force in the definition of the paper, and beside the paper's own package, prdc.
That one compares distances with `<` in place of `<=`, which are the same for features of noise."""

from benchmarks import arithmetic
from benchmarks.contract import PEER, Benchmark, Side

# the last: features of the Inception network
SIZES = {"small": (1_000, 64), "large": (10_000, 256), "inception": (5_000, 2_048)}
NEAREST = 5


def _benchmark(size: str, rows: int, features: int) -> Benchmark:
    options = {"rows": rows, "features": features}
    return Benchmark(
        name=f"neighbours_{size}",
        family="neighbours",
        size=f"{rows:,} + {rows:,} x {features}",
        unit="rows",
        sides={
            "ours": Side("neighbours.ours:scores", options),
            "scikit-learn": Side("neighbours.peer:scores", options, PEER),
            "prdc": Side("neighbours.peer:scores_by_prdc", options, PEER),
        },
        # the distances within both sets, and between them
        flops=3 * arithmetic.product(rows, features, rows) / rows,
        check=Side("neighbours.check:check", options),
    )


BENCHMARKS = [_benchmark(size, *numbers) for size, numbers in SIZES.items()]
