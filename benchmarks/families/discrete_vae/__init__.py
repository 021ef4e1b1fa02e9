"""DALL-E's discrete VAE on 28x28 images: encoder and decoder of `networks.residual`, a 7 x 7 grid
of K codes, Gumbel-softmax at temperature .5, logit-Laplace likelihood, KL to the uniform prior with
beta 1, Adam 3e-4."""

from benchmarks import arithmetic
from benchmarks.families._shared import declaring

NUM_IMAGES, TEMPERATURE, GRID = 4_096, 0.5, (7, 7)


def flops(width: int, residual_width: int, codes: int, batch: int) -> float:
    """Of a step."""
    encoder = arithmetic.residual_encoder(1, codes, width, residual_width, 28)
    decoder = arithmetic.residual_decoder(codes, 2, width, residual_width, 28)
    return arithmetic.autoencoder_step(encoder, decoder, batch)


def num_bytes(width: int, residual_width: int, codes: int, batch: int) -> float:
    """Of the optimizer: kernels of both networks."""
    del batch
    blocks = 2 * (9 + 1) * width * residual_width
    inner = 16 * (width // 2 + width * width // 2) + 9 * width * width + codes * width
    outer = 9 * codes * width + 16 * (width * width // 2 + width)
    return arithmetic.adam_bytes(2 * blocks + inner + outer)


BENCHMARKS = declaring.training(
    "discrete_vae",
    {
        "small": {"width": 32, "residual_width": 8, "codes": 32, "batch": 64},
        "large": {"width": 128, "residual_width": 32, "codes": 128, "batch": 128},
    },
    flops,
    num_bytes,
    steps={"small": 20, "large": 10},
    ours={
        "ours, plain convolutions": {"convolutions": "plain"},
        "ours, bfloat16": {"precision": "bfloat16"},
    },
    peers=declaring.TORCH_IMAGES,
)
