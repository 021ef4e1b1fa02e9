"""Vectors to their nearest codes: streamed, by the full matrix, and by vector-quantize-pytorch. D =
64, float32, data and codebook N(0, 1). "full matrix" forms all N x K scores at once and takes the
minimum by `argmin` or by two reductions; it does not compare the best two again as the streamed
search does. The peer runs its quantizer in eval mode, which also gathers the codes' vectors."""

from benchmarks import arithmetic
from benchmarks.contract import PEER, Benchmark, Side

WIDTH = 64
SIZES = {"small": (4_096, 1_024), "large": (65_536, 16_384)}


def _benchmark(size: str, num: int, codes: int) -> Benchmark:
    ours = {
        name: Side("nearest_code.ours:search", {"num": num, "codes": codes, "way": way})
        for name, way in (
            ("ours", "streamed"),
            ("full matrix, argmin", "argmin"),
            ("full matrix, reductions", "reductions"),
        )
    }
    peers = {
        "torch cdist": Side("nearest_code.peer:cdist", {"num": num, "codes": codes}, PEER),
        "vector-quantize-pytorch": Side(
            "nearest_code.peer:vector_quantize", {"num": num, "codes": codes}, PEER
        ),
    }
    return Benchmark(
        name=f"nearest_code_{size}",
        family="nearest_code",
        size=f"{num:,} vectors, {codes:,} codes",
        unit="vectors",
        sides=ours | peers,
        flops=arithmetic.product(1, WIDTH, codes),
        num_bytes=arithmetic.FLOAT * (WIDTH + 1 + WIDTH * codes / num),
        check=Side("nearest_code.check:check", {"num": num, "codes": codes}),
    )


BENCHMARKS = [_benchmark(size, *numbers) for size, numbers in SIZES.items()]
