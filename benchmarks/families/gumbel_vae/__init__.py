"""A VAE with categorical latents on binary 28x28 images, trained by Gumbel-softmax: 784-w-w-20 x 10
and back, ReLU, Bernoulli pixels, Adam 1e-3."""

from benchmarks import arithmetic
from benchmarks.families._shared import declaring
from benchmarks.families.vae import NUM_IMAGES, PIXELS

__all__ = ["BENCHMARKS", "CLASSES", "LATENTS", "NUM_IMAGES"]

LATENTS, CLASSES = 20, 10


def widths(width: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of encoder and decoder, from input to output."""
    inner = LATENTS * CLASSES
    return (PIXELS, width, width, inner), (inner, width, width, PIXELS)


def flops(width: int, batch: int) -> float:
    """Of a step."""
    return arithmetic.autoencoder_step(*map(arithmetic.dense, widths(width)), batch)


def num_bytes(width: int, batch: int) -> float:
    """Of the optimizer, and of the batch as uint8."""
    weights = sum(map(arithmetic.num_weights, widths(width)))
    return arithmetic.adam_bytes(weights) + batch * PIXELS


BENCHMARKS = declaring.training(
    "gumbel_vae",
    {"small": {"width": 300, "batch": 100}, "large": {"width": 1_200, "batch": 256}},
    flops,
    num_bytes,
    steps={"small": 20, "large": 20},
    peers={"torch eager": {}, "torch compile": {"compiled": True, "slow": True}},
)
