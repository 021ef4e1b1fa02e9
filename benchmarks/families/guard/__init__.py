"""What the guard against divergence costs in a step of the engine. It looks after each step whether
new parameters and losses are finite, and chooses once in many steps between the state before them
and after them. "choosing at every step" does what it did until 2026-11-30. "without the guard" does
not look: no way to train, but it says where the time goes."""

from benchmarks.contract import Benchmark, Side
from benchmarks.families import gan_ring, vae
from benchmarks.families._shared.declaring import by_other_sides

CHANGES = {
    "ours": None,
    "ours, choosing at every step": "choosing_each",
    "ours, without the guard": "not_looking",
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
        name: Side("guard.ours:engine", options | {"changed": changed})
        for name, changed in CHANGES.items()
    }
    unchecked = "all sides take the same steps while these are finite"
    return by_other_sides(of, "guard", f"guard_{of.name}", sides, unchecked)


BENCHMARKS = [_benchmark(b) for b in (*gan_ring.BENCHMARKS, *vae.BENCHMARKS) if b.name in NAMES]
