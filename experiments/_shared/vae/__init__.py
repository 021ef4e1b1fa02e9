"""VAEs with Gaussian posteriors on binarised images: settings of `vae_priors`, `elbo_surgery` and
`avb_images`."""

import dataclasses
from typing import Literal

from dgm_jax.experiments._shared.choices import Binarization
from dgm_jax.run.settings import StudyConfig

Network = Literal["convolutional", "dense"]
DATA_SETTINGS = ("data", "binarization")
READ_WHERE = {"hidden": {"network": ("dense",)}}


@dataclasses.dataclass(frozen=True)
class VaeConfig(StudyConfig):
    """Settings of a VAE on binarised images."""

    data: str = "auto"
    """A set of images by name (dgm_jax.data.load); auto takes the first that is here of
    fashion_mnist, mnist_5k and digits."""
    binarization: Binarization = "static"
    """static (each pixel drawn once with probability x / 255), dynamic (anew in each training
    batch) or threshold."""
    num_seeds: int = 3
    num_steps: int = 20_000
    log_every: int = 5_000
    batch_size: int = 100
    """Images in a step."""
    learning_rate: float = 1e-3
    """Adam's; falls to zero along a cosine."""
    latent_size: int = 40
    """Dimensions of z."""
    network: Network = "dense"
    """dense (two hidden layers each way) or convolutional."""
    hidden: tuple[int, ...] = (300, 300)
    """Widths of the dense encoder; the decoder has them in reverse."""
    warm_up_share: float = 0.1
    """Of the steps, over which the factor on the KL rises linearly to 1."""
