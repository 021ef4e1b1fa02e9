"""ELBO surgery of diagonal Gaussian posteriors over N data points: exact log q(z), O(N^2 D). All
terms, with the total correlation, need the marginals of q(z): N^2 D exponentials. Without it, as in
the experiment, the joint density is enough. PyTorch forms squared differences a block of draws at a
time, or takes the products of the expanded square, whose error it does not bound."""

from benchmarks import arithmetic
from benchmarks.contract import PEER, Benchmark, Side

SIZES = {"small": (1_000, 10), "medium": (3_000, 50), "large": (10_000, 50)}


def _benchmark(size: str, points: int, latents: int, joint: bool) -> Benchmark:
    options = {"points": points, "latents": latents, "joint": joint}
    sides = {
        "ours": Side("surgery.ours:decompose", options),
        "torch": Side("surgery.peer:decompose", options, PEER),
    }
    if joint:
        products = options | {"products": True}
        sides["torch, products"] = Side("surgery.peer:decompose", products, PEER)
    return Benchmark(
        name=f"surgery_{'joint_' * joint}{size}",
        family="surgery",
        size=f"{points:,} points, {latents} latents{', joint' * joint}",
        unit="pairs",
        sides=sides,
        # the two products of a pair
        flops=2 * arithmetic.product(1, latents, 1) if joint else None,
        check=Side("surgery.check:check", options),
    )


BENCHMARKS = [
    _benchmark(size, *numbers, joint) for size, numbers in SIZES.items() for joint in (False, True)
]
