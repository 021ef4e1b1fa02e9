"""What a user waits for before the first step: imports in a fresh process, beside the packages that
they are built on, and a command up to its first step, with and without compiled programs in JAX's
cache. A call is a whole process; data are the default's, Fashion-MNIST where there are images."""

from benchmarks.contract import PEER, Benchmark, Side

ROOMS = ("data", "models", "objectives", "training")
FOUNDATION = ["jax", "flax.linen", "optax"]
EXPERIMENTS = (
    "avb_four_points",
    "avb_images",
    "avb_posteriors",
    "dirac_gan",
    "elbo_surgery",
    "feature_classifier",
    "gan_grid",
    "gan_images",
    "gan_optimality",
    "gan_ring",
    "gradient_estimators",
    "gumbel_vae_images",
    "likelihood_versus_samples",
    "mode_covering",
    "text_to_image",
    "vae_priors",
    "vqvae_images",
)


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
        size=f"from the command to the first step, {name}",
        unit="starts",
        sides={
            "ours, compiled programs in the cache": Side(
                "start_up.ours:start", {"experiment": name, "warm": True}
            ),
            "ours, empty cache": Side("start_up.ours:start", {"experiment": name, "warm": False}),
        },
        unchecked="no peer has such a command",
    )


BENCHMARKS = [*map(_import, ROOMS), *map(_first_step, EXPERIMENTS)]
