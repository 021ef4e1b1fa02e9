"""Adversarial variational Bayes on binary 28x28 images: encoder (784 pixels, 32 numbers of
noise)-h-h-8, decoder 8-h-h-784, residual critic with three blocks, Adam with b1 .5. One step is an
update of encoder and decoder through the critic and an update of the critic on posterior and prior
draws of a fresh batch."""

from benchmarks import arithmetic
from benchmarks.families._shared import declaring

NUM_IMAGES, PIXELS, LATENT, NOISE, BLOCKS = 10_000, 784, 8, 32, 3
RATES, B1 = {"vae": 5e-4, "critic": 1e-3}, 0.5


def widths(hidden: int, critic: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Of encoder, decoder and critic, from input to output."""
    return (
        (PIXELS + NOISE, hidden, hidden, LATENT),
        (LATENT, hidden, hidden, PIXELS),
        (PIXELS + LATENT, *[critic] * (2 * BLOCKS + 1), 1),
    )


def flops(hidden: int, critic: int, batch: int) -> float:
    """Of a step."""
    encoder, decoder, judge = map(arithmetic.dense, widths(hidden, critic))
    through = arithmetic.forward(judge) + arithmetic.backward(judge, weights=False, to_input=True)
    networks = arithmetic.autoencoder_step(encoder, decoder, 1) + through
    return batch * (networks + arithmetic.forward(encoder) + 2 * arithmetic.trained(judge))


def num_bytes(hidden: int, critic: int, batch: int) -> float:
    """Of both optimizers, and of both batches as uint8."""
    weights = sum(map(arithmetic.num_weights, widths(hidden, critic)))
    return arithmetic.adam_bytes(weights) + 2 * batch * PIXELS


BENCHMARKS = declaring.training(
    "adversarial_variational_bayes",
    {
        "small": {"hidden": 300, "critic": 256, "batch": 100},
        "large": {"hidden": 1_200, "critic": 512, "batch": 256},
    },
    flops,
    num_bytes,
    steps={"small": 10, "large": 10},
    peers={"torch eager": {}, "torch compile": {"compiled": True, "slow": True}},
)
