"""A GAN of dense layers on a ring of eight Gaussians, protocol `sandlund`: G 16-w-w-2, D 2-w-w-1,
leaky ReLU .2, non-saturating loss, Adam 2e-4 with b1 .5, fresh samples at every update."""

from benchmarks import arithmetic
from benchmarks.families._shared import declaring

LATENT = 16


def widths(width: int) -> dict[str, tuple[int, ...]]:
    """Of both networks, from input to output."""
    return {"generator": (LATENT, width, width, 2), "discriminator": (2, width, width, 1)}


def flops(width: int, batch: int) -> float:
    """Of a step."""
    networks = {name: arithmetic.dense(each) for name, each in widths(width).items()}
    return arithmetic.gan_step(networks["generator"], networks["discriminator"], batch)


def num_bytes(width: int, batch: int) -> float:
    """Of both optimizers."""
    del batch
    return sum(arithmetic.adam_bytes(arithmetic.num_weights(w)) for w in widths(width).values())


BENCHMARKS = declaring.training(
    "gan_ring",
    {"small": {"width": 128, "batch": 256}, "large": {"width": 512, "batch": 1_024}},
    flops,
    num_bytes,
    steps={"small": 50, "large": 5},
    peers={
        "torch eager": {},
        "torch eager, 1 thread": {"threads": 1},
        "torch compile": {"compiled": True, "slow": True},
    },
)
