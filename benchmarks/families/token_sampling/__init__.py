"""Tokens drawn from a decoder-only transformer (4 layers, 4 heads, 512 ids) at temperature 1: with
a cache of keys and values in one compiled loop, with a full pass for every token, and in PyTorch
with a cache of fixed shape."""

from benchmarks import arithmetic
from benchmarks.contract import PEER, Benchmark, Side

IDS, LAYERS, HEADS = 512, 4, 4
SHAPES = {
    "small": {"width": 128, "length": 64, "batch": 16},
    "large": {"width": 128, "length": 256, "batch": 16},
}


def flops(width: int, length: int, batch: int) -> float:
    """Of a token: attention to the whole cache."""
    del batch
    return arithmetic.forward(arithmetic.transformer(width, LAYERS, length, IDS))


BENCHMARKS = [
    Benchmark(
        name=f"token_sampling_{size}",
        family="token_sampling",
        size=size,
        unit="tokens",
        sides={
            "ours": Side("token_sampling.ours:sampling", {"shape": shape}),
            "ours, uncached": Side(
                "token_sampling.ours:sampling", {"shape": shape, "cached": False}
            ),
            "torch eager, cached": Side("token_sampling.peer:sampling", {"shape": shape}, PEER),
        },
        flops=flops(**shape),
        check=Side("token_sampling.check:check", {"shape": shape}),
    )
    for size, shape in SHAPES.items()
]
