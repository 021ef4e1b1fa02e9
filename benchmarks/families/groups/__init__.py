"""What a seed of a group of eight costs beside a seed alone, in the same rounds, and what the other
strategy over seeds would cost: "auto" trains dense networks all at once by `vmap` on CPU, and those
with convolutions one after the other by `map`; transformers are told to be trained by `map`."""

from benchmarks.contract import PEER, Benchmark, Side
from benchmarks.families import (
    adversarial_variational_bayes,
    flow_density,
    gan_images,
    gan_ring,
    gumbel_vae,
    transformer,
    vae,
    vqvae,
)
from benchmarks.families._shared.declaring import by_other_sides

SEEDS = 8
OTHER_STRATEGY = {  # than the one of the rows of several seeds
    adversarial_variational_bayes: "map",
    flow_density: "map",
    gan_images: "vmap",
    gan_ring: "map",
    gumbel_vae: "map",
    transformer: "vmap",
    vae: "map",
    vqvae: "vmap",
}
ALSO_LARGE = (gumbel_vae, vae)


def _benchmark(of: Benchmark, other: str) -> Benchmark:
    chosen = {"strategy": "auto", **of.sides["ours"].options}
    common = chosen | {"target": of.sides["ours"].target}
    sides = {
        "ours": Side("groups.ours:engine", common),
        f"ours, by {other}": Side("groups.ours:engine", common | {"strategy": other}),
        "a seed alone": Side("groups.ours:engine", common | {"strategy": "auto", "seeds": 1}, PEER),
    }
    name = f"group_{of.family}_{of.size}"
    return by_other_sides(of, "groups", name, sides, "all sides take the same steps")


def _declared() -> list[Benchmark]:
    found = []
    for family, other in OTHER_STRATEGY.items():
        sizes = ("small", "large") if family in ALSO_LARGE else ("small",)
        for benchmark in family.BENCHMARKS:
            if benchmark.seeds == SEEDS and benchmark.size in sizes:
                found.append(_benchmark(benchmark, other))
    return found


BENCHMARKS = _declared()
