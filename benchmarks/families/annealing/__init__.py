"""Annealed importance sampling of log p(x) for binary 28x28 images under a decoder 40-300-300-784,
from the prior: at every step each chain of each image makes an HMC transition of ten leapfrog
steps, ten gradients of log p(x | z). A chain-step is one such transition of one chain. Step sizes
are given, so the pilot run is not in it."""

from benchmarks import arithmetic
from benchmarks.contract import PEER, Benchmark, Side

WIDTHS, STEP_SIZE, LEAPFROG = (40, 300, 300, 784), 0.1, 10
SIZES = {
    "small": {"images": 5, "chains": 4, "ladder": 20},
    "large": {"images": 20, "chains": 16, "ladder": 50},
}


def flops() -> float:
    """Of a chain-step: forward and the gradient in z at each leapfrog step."""
    decoder = arithmetic.dense(WIDTHS)
    slope = arithmetic.backward(decoder, weights=False, to_input=True)
    return LEAPFROG * (arithmetic.forward(decoder) + slope)


BENCHMARKS = [
    Benchmark(
        name=f"annealing_{size}",
        family="annealing",
        size="{images} images, {chains} chains, {ladder} distributions".format(**options),
        unit="chain-steps",
        sides={
            "ours": Side("annealing.ours:chains", options),
            "torch eager": Side("annealing.peer:chains", options, PEER),
        },
        flops=flops(),
        check=Side("annealing.check:check", {"images": options["images"]}),
    )
    for size, options in SIZES.items()
]
