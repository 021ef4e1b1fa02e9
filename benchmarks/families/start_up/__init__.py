"""What a user waits for before the first step: imports in a fresh process, beside the packages that
they are built on, and a run of one step from the command line, with and without compiled programs
in JAX's cache. A call is a whole process."""

from benchmarks.contract import PEER, Benchmark, Side

ROOMS = ("data", "models", "objectives", "training")
FOUNDATION = ["jax", "flax.linen", "optax"]
EXPERIMENTS = ("gan_ring", "vqvae_images")


def _import(room: str) -> Benchmark:
    ours = {"modules": [f"dgm_jax.{room}"]}
    return Benchmark(
        name=f"import_{room}",
        family="start_up",
        size=f"import of dgm_jax.{room}",
        unit="imports",
        sides={
            "ours": Side("start_up.ours:imports", ours),
            "jax, flax and optax": Side("start_up.ours:imports", {"modules": FOUNDATION}, PEER),
        },
        unchecked="imports compute nothing",
    )


def _first_step(name: str) -> Benchmark:
    return Benchmark(
        name=f"first_step_{name}",
        family="start_up",
        size=f"run of one step, {name}",
        unit="runs",
        sides={
            "ours, compiled programs in the cache": Side(
                "start_up.ours:run", {"experiment": name, "warm": True}
            ),
            "ours, empty cache": Side("start_up.ours:run", {"experiment": name, "warm": False}),
        },
        unchecked="no peer has such a command",
    )


BENCHMARKS = [*map(_import, ROOMS), *map(_first_step, EXPERIMENTS)]
