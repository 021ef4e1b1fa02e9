"""VAEs with Gaussian posteriors on binarized images: settings that several experiments share.

For `vae_priors`, `elbo_surgery` and `avb_images`.
"""

import dataclasses
from typing import Literal

from dgm_jax.experiments._shared.choices import Binarization, Precision
from dgm_jax.run.settings import OPTIMIZER_READ_WHERE, OptimizerConfig

Network = Literal["convolutional", "dense"]
DATA_SETTINGS = ("data", "binarization")
READ_WHERE = {**OPTIMIZER_READ_WHERE, "hidden": {"network": ("dense",)}}


@dataclasses.dataclass(frozen=True)
class VaeConfig(OptimizerConfig):
    """Settings of a VAE on binarised images."""

    data: str = "auto"
    """Images by name: fashion_mnist, mnist, digits, ..., or the path of a folder
    (dgm_jax.data.load); auto takes the first of fashion_mnist, mnist_5k and digits that is
    installed."""
    binarization: Binarization = "static"
    """How pixels become 0 or 1: static (drawn once, 1 with probability x / 255), dynamic (drawn
    anew for each training batch) or threshold (1 above one half)."""
    num_seeds: int = 3
    num_steps: int = 20_000
    log_every: int = 5_000
    batch_size: int = 100
    """Images in a step."""
    learning_rate: float = 1e-3
    """Learning rate at the start; by default it falls to zero along a cosine (schedule)."""
    latent_size: int = 40
    """Dimensions of z."""
    network: Network = "dense"
    """Encoder and decoder: dense, with the layers of hidden, or convolutional."""
    hidden: tuple[int, ...] = (300, 300)
    """Widths of the hidden layers of the dense encoder; the decoder has them in reverse."""
    warm_up_share: float = 0.1
    """Share of the steps, 0 to 1, over which the factor on the KL rises linearly from 0 to
    1."""
    precision: Precision = "float32"
    """Of products and convolutions in the networks: float32, or bfloat16, which is made for
    accelerators. Parameters, optimizer, statistics and losses are float32 with both."""
