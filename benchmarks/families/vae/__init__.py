"""A dense VAE on binary 28x28 images under N(0, I): 784-w-w-z and back, ReLU, Bernoulli pixels,
Adam 1e-3, batches drawn from uint8. "torch pythae" is that library's `VAE` with these networks
inside, which takes the cross-entropy of probabilities and the KL in closed form. "numpyro" is an
update of its SVI on a model and a guide with these networks, as many steps in one compiled program
and as many seeds at once, by `jax.vmap`, as ours."""

from benchmarks import arithmetic
from benchmarks.families._shared import declaring

NUM_IMAGES, PIXELS = 10_000, 784


def widths(width: int, latent: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of encoder and decoder, from input to output."""
    return (PIXELS, width, width, 2 * latent), (latent, width, width, PIXELS)


def flops(width: int, latent: int, batch: int) -> float:
    """Of a step."""
    encoder, decoder = map(arithmetic.dense, widths(width, latent))
    return arithmetic.autoencoder_step(encoder, decoder, batch)


def num_bytes(width: int, latent: int, batch: int) -> float:
    """Of the optimizer, and of the batch as uint8."""
    weights = sum(map(arithmetic.num_weights, widths(width, latent)))
    return arithmetic.adam_bytes(weights) + batch * PIXELS


BENCHMARKS = declaring.training(
    "vae",
    {
        "small": {"width": 300, "latent": 40, "batch": 100},
        "large": {"width": 1_200, "latent": 64, "batch": 256},
    },
    flops,
    num_bytes,
    steps={"small": 20, "large": 20},
    peers={
        "torch eager": {},
        "torch pythae": {"pythae": True},
        "torch compile": {"compiled": True, "slow": True},
        "numpyro": {"target": "numpyro_peer:train", "batched": True},
    },
)
