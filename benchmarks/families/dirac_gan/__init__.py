"""The Dirac GAN: two numbers that move, so that all of the time is what a step costs by itself."""

from benchmarks.contract import Benchmark, Side

BENCHMARKS = [
    Benchmark(
        name=f"dirac_gan_{size}_{seeds}_seeds",
        family="dirac_gan",
        size=f"{size}, {game}",
        unit="seed-steps",
        sides={"ours": Side("dirac_gan.ours:engine", {"game": game, "seeds": seeds, "steps": 200})},
        seeds=seeds,
        unchecked="no peer is measured",
    )
    for size, game in (("small", "gan"), ("large", "half_consensus"))
    for seeds in (1, 8, 32)
]
