"""A VQ-VAE on 28x28 images: encoder and decoder of `networks.residual`, codes of D = 64, mean
squared error plus codebook term plus .25 commitment, Adam 3e-4."""

from benchmarks import arithmetic
from benchmarks.families._shared import declaring

NUM_IMAGES, CODE_WIDTH, PLACES = 4_096, 64, 49
SHAPES = {
    "small": {"width": 32, "residual_width": 8, "codes": 128, "batch": 64},
    "large": {"width": 128, "residual_width": 32, "codes": 512, "batch": 128},
}


def flops(width: int, residual_width: int, codes: int, batch: int) -> float:
    """Of a step, with the search of the nearest codes."""
    encoder = arithmetic.residual_encoder(1, CODE_WIDTH, width, residual_width, 28)
    decoder = arithmetic.residual_decoder(CODE_WIDTH, 1, width, residual_width, 28)
    search = arithmetic.product(batch * PLACES, CODE_WIDTH, codes)
    return arithmetic.autoencoder_step(encoder, decoder, batch) + search


def num_bytes(width: int, residual_width: int, codes: int, batch: int) -> float:
    """Of the optimizer: kernels of both networks and the codebook."""
    del batch
    blocks = 2 * (9 + 1) * width * residual_width
    inner = 16 * (width // 2 + width * width // 2) + 9 * width * width + CODE_WIDTH * width
    outer = 9 * CODE_WIDTH * width + 16 * (width * width // 2 + width // 2)
    return arithmetic.adam_bytes(2 * blocks + inner + outer + codes * CODE_WIDTH)


BENCHMARKS = declaring.training(
    "vqvae",
    SHAPES,
    flops,
    num_bytes,
    steps={"small": 20, "large": 10},
    ours={
        "ours, plain convolutions": {"convolutions": "plain"},
        "ours, bfloat16": {"precision": "bfloat16"},
    },
    peers=declaring.TORCH_IMAGES,
)
