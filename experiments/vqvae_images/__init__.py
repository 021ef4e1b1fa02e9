"""A VQ-VAE with an autoregressive prior on real images: codebook usage, bits per dimension.

    python -m experiments.vqvae_images --data fashion_mnist --num_seeds 3
    python -m experiments.vqvae_images --gradient rotation
    python -m experiments.vqvae_images --quantizer codebook_loss --cosine
    python -m experiments.vqvae_images --quantizer finite_scalar --levels 8 6 5
    python -m experiments.vqvae_images --quantizer residual --num_levels 4 --num_codes 64

After van den Oord et al. 2017, section 4.1 (two strided convolutions, two residual blocks, beta
.25, Adam; Sonnet's version with a moving-average codebook, decay .99), smaller: `width` 64 where
they have 128 or 256. The likelihood is a discretized logistic distribution over the 256 levels of a
pixel. A transformer over the 7 x 7 codes is trained in the same game, on the codes as they are at
that step; both learning rates fall to zero along a cosine. `bits_per_dim` is the bound -log2 p(x |
e_c) - log2 p(c) on all test images, `uniform_bits_per_dim` the same with the uniform prior over
codes. The paper's 4.67 bits are for CIFAR-10 and a uniform prior, so they are not comparable with
Fashion-MNIST.

Measured with the first command (3 seeds of seed 0, 2026-11-23, two CPU cores, about 20 minutes
alongside other work), mean and 95 % interval on 10,000 test images: 3.571 [3.516, 3.626] bits a
dimension with the prior, 3.824 [3.791, 3.856] with the uniform prior, 3.324 for the decoder alone;
3.96 bits a code of 8; squared error .0345; all 256 codes in use, perplexity 216 [202, 231]. Over
training (500, 1,000, 1,500, 2,000 steps) the bits were 3.80, 3.65, 3.58, 3.57.
"""

import dataclasses
from typing import Literal

from dgm_jax.experiments._shared.choices import Precision
from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import OPTIMIZER_READ_WHERE, OPTIMIZER_SWEEPABLE, OptimizerConfig

Gradient = Literal["straight_through", "rotation"]
QuantizerName = Literal[
    "moving_average",
    "codebook_loss",
    "finite_scalar",
    "residual",
    "product",
]


@dataclasses.dataclass(frozen=True)
class Config(OptimizerConfig):
    """VQ-VAE and its prior on images: how many bits, how much of the codebook, which samples?"""

    data: str = "auto"
    """Images by name: fashion_mnist, mnist, digits, ..., or the path of a folder
    (dgm_jax.data.load); auto takes the first of fashion_mnist, mnist_5k and digits that is
    installed."""
    num_seeds: int = 3
    num_steps: int = 2_000
    log_every: int = 500
    batch_size: int = 64
    """Images in a step."""
    num_codes: int = 256
    """Entries of a codebook."""
    code_width: int = 32
    """Dimensions of a code vector."""
    width: int = 64
    """Channels of the autoencoder."""
    quantizer: QuantizerName = "moving_average"
    """How vectors become codes (dgm_jax.quantization.QUANTIZERS): a codebook that follows
    moving averages, or its gradient (codebook_loss); rounding (finite_scalar); several
    codebooks, one after the other (residual) or for parts of the vector (product)."""
    num_levels: int = 4
    """Codes for a vector: codebooks of residual, parts of product."""
    levels: tuple[int, ...] = (8, 6, 5)
    """Of finite_scalar: number of values in each dimension. Their product is the number of
    codes, so num_codes and code_width play no part."""
    start: Literal["normal", "kmeans"] = "normal"
    """Where codebooks start: normal (random), or kmeans of the encoder's output for the first
    images."""
    decay: float = 0.99
    """Decay of the codebook's moving averages a step, in [0, 1); for all but codebook_loss and
    finite_scalar."""
    threshold: float = 0.05
    """Codes that on average get fewer vectors a batch than this are moved onto random vectors
    of the batch; 0 for never."""
    gradient: Gradient = "straight_through"
    """Gradient through the quantizer (dgm_jax.quantization.GRADIENTS)."""
    cosine: bool = False
    """Compare directions: vectors and codes have length 1. Needs --quantizer codebook_loss."""
    commitment_weight: float = 0.25
    """Factor on the commitment loss, beta of van den Oord et al. 2017."""
    learning_rate: float = 1e-3
    """Learning rate at the start; by default it falls to zero along a cosine (schedule)."""
    prior_width: int = 96
    """Width of the transformer over codes; a multiple of 4, its attention heads."""
    prior_layers: int = 2
    """Layers of the transformer over codes."""
    remat: bool = False
    """Compute the inside of residual blocks and of the transformer's layers anew in the backward
    pass instead of keeping it: memory for time, the same model; on CPU it saves next to nothing."""
    precision: Precision = "float32"
    """Of products and convolutions in the networks: float32, or bfloat16, which is made for
    accelerators. Parameters, optimizer, statistics and losses are float32 with both."""


_CODEBOOKS = ("moving_average", "codebook_loss", "residual", "product")
_STATISTICS = ("moving_average", "residual", "product")

EXPERIMENT = Experiment(
    name="vqvae_images",
    chapter="Discrete latents",
    config=Config,
    task=f"{__name__}.task",
    sweepable=("decay", "commitment_weight", "learning_rate", *OPTIMIZER_SWEEPABLE),
    data_settings=("data",),
    read_where={
        **OPTIMIZER_READ_WHERE,
        **dict.fromkeys(
            ("num_codes", "code_width", "start", "gradient"), {"quantizer": _CODEBOOKS}
        ),
        **dict.fromkeys(("decay", "threshold"), {"quantizer": _STATISTICS}),
        "commitment_weight": {"quantizer": _CODEBOOKS},
        "num_levels": {"quantizer": ("residual", "product")},
        "levels": {"quantizer": ("finite_scalar",)},
        "cosine": {"quantizer": ("codebook_loss",)},
    },
    headline=(
        "bits_per_dim",
        "uniform_bits_per_dim",
        "decoder_bits_per_dim",
        "prior_bits",
        "squared_error",
        "usage",
        "perplexity",
    ),
    better={
        "bits_per_dim": "lower",
        "uniform_bits_per_dim": "lower",
        "decoder_bits_per_dim": "lower",
        "prior_bits": "lower",
        "squared_error": "lower",
        "usage": "higher",
        "perplexity": "higher",
    },
    ranges={
        "bits_per_dim": (0, None),
        "uniform_bits_per_dim": (0, None),
        "decoder_bits_per_dim": (0, None),
        "prior_bits": (0, None),
        "squared_error": (0, None),
        "usage": (0, 1),
        "perplexity": (1, None),
    },
    explanations={
        "bits_per_dim": (
            "Bound on -log2 p(x) a pixel on all test images: decoder and trained prior; integer"
            " pixels."
        ),
        "uniform_bits_per_dim": "The same with the uniform prior over codes.",
        "decoder_bits_per_dim": "The decoder's part of both.",
        "prior_bits": "-log2 p(c) a code; log2 K for the uniform prior.",
        "squared_error": "Mean over pixels in [-1, 1] of the squared error of the reconstruction.",
        "usage": "Share of the codebook that occurs among the codes of the test images.",
        "perplexity": (
            "exp of the entropy of the codes over the test images; with several codes a vector the"
            " mean over these, as for usage, and usage_0, perplexity_0 and so on of each."
        ),
    },
)
