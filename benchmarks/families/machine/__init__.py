"""What the machine can do: products and copies, which are the peaks of every record too."""

from benchmarks import arithmetic
from benchmarks.contract import Benchmark, Side

BENCHMARKS = [
    Benchmark(
        name=f"machine_product_{size}",
        family="machine",
        size=f"product of {size} x {size} matrices",
        unit="products",
        sides={
            "ours": Side("machine.ours:product", {"size": size}),
            "by numpy": Side("machine.ours:product_by_numpy", {"size": size}),
        },
        flops=arithmetic.product(size, size, size),
        unchecked="both are peaks, not the library's work",
    )
    for size in (128, 1_024)
]
