"""What the guard against divergence costs in a step of the engine. It looks whether new parameters
and losses are finite, and keeps the state before a step where they are not. "without choosing"
looks and takes every step, "without the guard" does not look: no way to train, but they say where
the time goes."""

from benchmarks.contract import Benchmark, Side
from benchmarks.families import gan_ring, vae

WITHOUT = {
    "ours": [],
    "ours, without choosing": ["choice"],
    "ours, without the guard": ["choice", "check"],
}
NAMES = (
    "gan_ring_small_1_seeds",
    "gan_ring_small_8_seeds",
    "vae_small_1_seeds",
    "vae_small_8_seeds",
    "vae_large_1_seeds",
)


def _benchmark(of: Benchmark) -> Benchmark:
    options = {**of.sides["ours"].options, "target": of.sides["ours"].target}
    sides = {
        name: Side("guard.ours:engine", options | {"without": without})
        for name, without in WITHOUT.items()
    }
    return of._replace(
        name=f"guard_{of.name}",
        family="guard",
        size=f"{of.family} {of.size}",
        sides=sides,
        check=None,
        unchecked="all sides take the same steps while these are finite",
    )


BENCHMARKS = [_benchmark(b) for b in (*gan_ring.BENCHMARKS, *vae.BENCHMARKS) if b.name in NAMES]
