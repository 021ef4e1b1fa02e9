"""A DCGAN on 28x28 images: G 100 -> 7x7x2f -> 14x14xf -> 28x28x1 with batch norm and ReLU, D with f
and 2f channels and leaky ReLU .2, non-saturating loss, Adam 2e-4 with b1 .5. One step is an update
of D on a batch of real and one of fake images and an update of G on a fresh one, draws and the
conversion from uint8 included."""

from benchmarks import arithmetic
from benchmarks.families._shared import declaring

LATENT, NUM_IMAGES = 100, 10_000


def networks(features: int) -> tuple[list[float], list[float]]:
    """Operations by layer: generator, discriminator."""
    convolution, f = arithmetic.convolution, features
    first, last = arithmetic.product(1, LATENT, 98 * f), arithmetic.product(1, 98 * f, 1)
    return (
        [first, convolution(4, 2 * f, f, 7), convolution(4, f, 1, 14)],
        [convolution(4, 1, f, 14), convolution(4, f, 2 * f, 7), last],
    )


def flops(features: int, batch: int) -> float:
    """Of a step."""
    return arithmetic.gan_step(*networks(features), batch)


def num_bytes(features: int, batch: int) -> float:
    """Of both optimizers: kernels only."""
    del batch
    kernels = 4 * 4 * (2 * features * features + features)
    return arithmetic.adam_bytes(2 * kernels + 98 * features * (LATENT + 1))


BENCHMARKS = declaring.training(
    "gan_images",
    {"small": {"features": 16, "batch": 64}, "large": {"features": 64, "batch": 128}},
    flops,
    num_bytes,
    steps={"small": 20, "large": 10},
    ours={
        "ours, plain convolutions": {"convolutions": "plain"},
        "ours, bfloat16": {"precision": "bfloat16"},
    },
    peers=declaring.TORCH_IMAGES,
)
