"""Reductions that `core.reductions` computes otherwise than XLA, and the gradient of images with
few channels, which is computed by taps in place of oneDNN's convolution."""

from benchmarks.contract import PEER, Benchmark, Side

POSITIONS = {"28x28x64": (28, 28, 64), "14x14x128": (14, 14, 128), "7x7x128": (7, 7, 128)}
ROWS = {"256x512": (256, 512), "256x1024": (256, 1_024)}
IMAGES = {"28x28x1": (28, 1), "32x32x3": (32, 3), "28x28x4": (28, 4), "28x28x16": (28, 16)}
BATCH = 128


def _benchmark(kind: str, size: str, options: dict) -> Benchmark:
    sides = {
        "ours": Side(f"reductions.ours:{kind}", options),
        "XLA": Side(f"reductions.xla:{kind}", options, PEER),
    }
    if kind == "image_gradient":
        sides["oneDNN"] = Side("reductions.onednn:image_gradient", options, PEER)
    return Benchmark(
        name=f"{kind}_{size}",
        family="reductions",
        size=f"{kind.replace('_', ' ')}, {size}",
        unit="calls",
        sides=sides,
        check=Side("reductions.check:check", {"kind": kind, "options": options}),
    )


BENCHMARKS = [
    *(_benchmark("total", size, {"shape": [BATCH, *shape]}) for size, shape in POSITIONS.items()),
    *(_benchmark("row_min", size, {"shape": [25, *shape]}) for size, shape in ROWS.items()),
    *(
        _benchmark("image_gradient", size, {"size": number, "channels": channels, "batch": BATCH})
        for size, (number, channels) in IMAGES.items()
    ),
]
