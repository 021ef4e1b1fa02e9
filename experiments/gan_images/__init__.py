"""A DCGAN on real images, several seeds, with distances on the features of a classifier.

    python -m experiments.gan_images --data fashion_mnist
    python -m experiments.gan_images --data fashion_mnist --loss hinge --spectral
    python -m experiments.gan_images --data mnist_5k --num_steps 1000
    python -m experiments.gan_images --data folder:PATH?image_size=32 --feature_extractor pixels
    python -m experiments.gan_images --feature_extractor inception --inception_weights FILE.npz

Radford et al. 2016 in size and optimizer (Adam 2e-4, b1 .5, batch 128, weights N(0, .02^2), tanh):
generator 100 -> 7x7x128 -> 14x14x64 -> 28x28, batch norm and ReLU; discriminator 64 and 128
channels, leaky ReLU .2, without batch norm. Images are scaled to [-1, 1]. The distances are
comparable with no published number: their features are those of a classifier trained here (test
accuracy and hash in the report), whose weights no paper shares. With `--feature_extractor
inception` and a file of the published weights they are FID and KID, of as many images as `num_eval`
says. As a scale, `floor_*` is the same distance between real training images and the real test
images that every row is measured against.

Measured with the first command (3 seeds of seed 0, 2026-11-22, two CPU cores), stopped after three
of the five epochs and resumed; mean over seeds after each epoch: Fréchet 120.6, 70.7, 52.2, 35.1,
26.7 [20.6, 32.8] (floor 0.47), kernel 18.9, 12.0, 8.9, 6.1, 4.3 [3.2, 5.5] (floor -0.007),
precision .76, .53, .49, .50, .52, recall .02, .28, .55, .63, .68; classifier of test accuracy .901.
Shirts, trousers, dresses, shoes and bags can be told apart in the grid.
"""

import dataclasses
from typing import Literal

from dgm_jax.experiments._shared.choices import FeatureExtractor, GanLoss, Penalty, Precision
from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import OPTIMIZER_READ_WHERE, OPTIMIZER_SWEEPABLE, OptimizerConfig


@dataclasses.dataclass(frozen=True)
class Config(OptimizerConfig):
    """A GAN on images: do Fréchet and kernel distance fall, are garments recognisable?"""

    data: str = "auto"
    """Images by name: fashion_mnist, mnist, digits, ..., or the path of a folder
    (dgm_jax.data.load); auto takes the first of fashion_mnist, mnist_5k and digits that is
    installed."""
    num_seeds: int = 3
    num_steps: int = 2_345
    log_every: int = 469
    """Steps between two evaluations; 469 are one epoch of 60,000 images in batches of 128."""
    loss: GanLoss = "non_saturating"
    """GAN loss of both players (dgm_jax.objectives.gan.LOSSES)."""
    label_smoothing: float = 0.0
    """One-sided label smoothing: real images have the label 1 less this, in [0, 1). For the
    losses minimax and non_saturating."""
    penalty: Literal["", Penalty] = ""
    """Gradient penalty on the discriminator (dgm_jax.models.PENALTIES); empty for none."""
    penalty_weight: float = 1.0
    """Factor on the penalty."""
    spectral: bool = False
    """Spectral normalization of the discriminator's weights."""
    batch_size: int = 128
    """Real images in a step, and as many generated ones."""
    latent_size: int = 100
    """Dimensions of the generator's normal input z."""
    features: int = 64
    """Channels of both networks at the highest resolution; twice as many at each lower one."""
    learning_rate: float = 2e-4
    """Learning rate of both players. The experiment's Adam has b1 = 0.5."""
    average_decay: float = 0.995
    """Samples come from a moving average of the generator's weights with this decay a step, in
    [0, 1); 0 for the newest weights."""
    num_eval: int | None = None
    """Generated images in an evaluation, and as many real test images. None for 5,000, or all
    there are if fewer."""
    generator_normalization: str = "batch"
    """Normalization of the generator's hidden layers: none, batch, layer, or group_N for N
    groups of channels."""
    discriminator_normalization: str = "none"
    """The same for the discriminator; batch goes badly with gradient penalties, which are of
    single images."""
    feature_extractor: FeatureExtractor = "classifier"
    """What distances between images are measured on: features of a classifier of the same
    images, of the Inception network of FID, or pixels. Images without classes need one of the
    last two, or a classifier of yours."""
    classifier: str = ""
    """Run folder of a finished feature_classifier. Empty for one under runs/, which is trained
    first if it is missing."""
    inception_weights: str = ""
    """File (npz) with the weights of the Inception network; dgm_jax.evaluation.inception says
    how to write it."""
    precision: Precision = "float32"
    """Of products and convolutions in the networks: float32, or bfloat16, which is made for
    accelerators. Parameters, optimizer, statistics and losses are float32 with both."""


EXPERIMENT = Experiment(
    name="gan_images",
    chapter="Likelihood-free learning",
    config=Config,
    task=f"{__name__}.task",
    sweepable=("penalty_weight", "learning_rate", "average_decay", *OPTIMIZER_SWEEPABLE),
    read_where={
        **OPTIMIZER_READ_WHERE,
        "penalty_weight": {"penalty": ("?*",)},
        "classifier": {"feature_extractor": ("classifier",)},
        "inception_weights": {"feature_extractor": ("inception",)},
    },
    data_settings=("data", "num_eval", "feature_extractor", "classifier", "inception_weights"),
    headline=(
        "frechet",
        "kernel",
        "sliced_wasserstein",
        "precision",
        "recall",
        "density",
        "coverage",
        "floor_frechet",
        "floor_kernel",
    ),
    better={
        "frechet": "lower",
        "kernel": "lower",
        "sliced_wasserstein": "lower",
        "precision": "higher",
        "recall": "higher",
        "density": "higher",
        "coverage": "higher",
    },
    ranges={
        "frechet": (0, None),
        "sliced_wasserstein": (0, None),
        "density": (0, None),
        **dict.fromkeys(("precision", "recall", "coverage"), (0, 1)),
    },
    levels={
        name: f"floor_{name}"
        for name in (
            "frechet",
            "kernel",
            "sliced_wasserstein",
            "precision",
            "recall",
            "density",
            "coverage",
        )
    },
    explanations={
        "frechet": (
            "Squared Fréchet distance of Gaussians fitted to features of generated and real test"
            " images."
        ),
        "kernel": (
            "Unbiased MMD^2 with the kernel (x.y / F + 1)^3 on the same features; may be negative."
        ),
        "sliced_wasserstein": (
            "Sliced 2-Wasserstein distance of the same features, over 256 fixed directions."
        ),
        "precision": (
            "Share of generated images within a real 5-nearest-neighbour ball"
            " (Kynkäänniemi et al. 2019)."
        ),
        "recall": "Share of real images within a generated 5-nearest-neighbour ball.",
        "density": (
            "Real balls that a generated image lies in, over 5 (Naeem et al. 2020); about 1 for"
            " equal sets."
        ),
        "coverage": "Share of real balls that hold a generated image.",
        "floor_frechet": "The same distance between real training and real test images.",
        "floor_kernel": "The same distance between real training and real test images.",
    },
)
