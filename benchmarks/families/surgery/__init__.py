"""ELBO surgery of diagonal Gaussian posteriors over N data points: exact log q(z), O(N^2 D)."""

from benchmarks.contract import PEER, Benchmark, Side

SIZES = {"small": (1_000, 10), "large": (10_000, 50)}


def _benchmark(size: str, points: int, latents: int) -> Benchmark:
    options = {"points": points, "latents": latents}
    return Benchmark(
        name=f"surgery_{size}",
        family="surgery",
        size=f"{points:,} points, {latents} latents",
        unit="pairs",
        sides={
            "ours": Side("surgery.ours:decompose", options),
            "torch": Side("surgery.peer:decompose", options, PEER),
        },
        check=Side("surgery.check:check", options),
    )


BENCHMARKS = [_benchmark(size, *numbers) for size, numbers in SIZES.items()]
