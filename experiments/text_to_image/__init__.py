"""Captions to images: a discrete VAE's tokens, and one transformer over words and tokens.

    python -m experiments.text_to_image
    python -m experiments.text_to_image --guidance 1 --num_seeds 3

DALL-E (Ramesh et al. 2021) at the size of a small image: captions in words for real images (class,
and what can be computed from the pixels: dark, bright, wide, narrow, tall, short), a dVAE with
logit-Laplace likelihood whose temperature falls along a cosine to 1/16, a decoder-only transformer
over the stream of text and 7 x 7 image tokens, classifier-free guidance with blank texts.
`agreement` is the share of images drawn for "a NOUN" to which a classifier, trained on real images
alone, gives that class; `reconstruction_agreement` is what it gives real test images that went
through the tokens, a ceiling. `distance_to_train` against `test_distance_to_train`, what real test
images have: a far smaller distance would be copying. No number is published for these data.

Measured with the first command (one seed, 2026-11-23, two CPU cores, 35 minutes, other work too):
agreement .92 of 200 captions (.905 after half the steps), reconstruction_agreement .80, 1.08 bits
an image token of at most 7, hard bound 1,847 nats an image and relaxed 1,862, median distance to
the training set 3.34 against 3.40 for test images. Agreement exceeds reconstruction_agreement
because of guidance: drawn images are typical of their class.
"""

import dataclasses
from typing import Literal

from dgm_jax.experiments._shared.choices import Precision
from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import OPTIMIZER_READ_WHERE, OPTIMIZER_SWEEPABLE, OptimizerConfig

Relaxation = Literal["soft", "straight_through"]


@dataclasses.dataclass(frozen=True)
class Config(OptimizerConfig):
    """Captions to images: does the picture show what the words say?"""

    data: str = "auto"
    """Labelled images by name: fashion_mnist, mnist, digits, ..., or the path of a folder
    (dgm_jax.data.load); auto takes the first of fashion_mnist, mnist_5k and digits that is
    installed."""
    num_seeds: int = 1
    num_steps: int = 6_000
    log_every: int = 1_500
    batch_size: int = 64
    """Captioned images in a step."""
    num_codes: int = 128
    """Entries of the codebook, the image tokens."""
    width: int = 64
    """Channels of the autoencoder."""
    learning_rate: float = 1e-3
    """Learning rate of autoencoder and transformer at the start; by default each falls to zero
    along a cosine (schedule)."""
    autoencoder_share: float = 0.5
    """Share of the steps, 0 to 1, over which the autoencoder's learning rate falls to zero;
    after that its tokens are fixed."""
    final_temperature: float = 0.0625
    """Temperature of the relaxed codes at the end of the autoencoder's training; it starts at
    1."""
    beta: float = 1.0
    """Factor on the KL of the codes to the uniform prior, after a warm-up."""
    relaxation: Relaxation = "soft"
    """What is decoded in training: soft, the relaxed codes, or straight_through, one-hot codes
    with the gradient of the relaxed ones."""
    prior_width: int = 128
    """Width of the transformer over words and tokens; a multiple of 4, its attention heads."""
    prior_layers: int = 3
    """Layers of the transformer."""
    remat: bool = False
    """Compute the inside of residual blocks and of the transformer's layers anew in the backward
    pass instead of keeping it: memory for time, the same model; on CPU it saves next to nothing."""
    precision: Precision = "float32"
    """Of products and convolutions in the networks: float32, or bfloat16, which is made for
    accelerators. Parameters, optimizer, statistics and losses are float32 with both."""
    guidance: float = 2.0
    """Scale of classifier-free guidance when images are drawn; 1 for none."""
    num_prompts: int = 200
    """Captions for which an image is drawn at each evaluation, evenly over the classes."""
    classifier: str = ""
    """Run folder of a finished feature_classifier. Empty for one under runs/, which is trained
    first if it is missing."""


EXPERIMENT = Experiment(
    name="text_to_image",
    chapter="Discrete latents",
    config=Config,
    task=f"{__name__}.task",
    sweepable=("learning_rate", "final_temperature", "beta", *OPTIMIZER_SWEEPABLE),
    data_settings=("data", "classifier"),
    read_where=OPTIMIZER_READ_WHERE,
    headline=(
        "agreement",
        "reconstruction_agreement",
        "bits_per_image_token",
        "squared_error",
        "hard_elbo",
        "relaxed_elbo",
        "distance_to_train",
        "test_distance_to_train",
    ),
    better={
        "agreement": "higher",
        "reconstruction_agreement": "higher",
        "bits_per_image_token": "lower",
        "squared_error": "lower",
        "hard_elbo": "higher",
    },
    ranges={
        "agreement": (0, 1),
        "reconstruction_agreement": (0, 1),
        "bits_per_image_token": (0, None),
        "squared_error": (0, None),
        "distance_to_train": (0, None),
    },
    levels={"distance_to_train": "test_distance_to_train"},
    explanations={
        "agreement": (
            "Share of generated images to which the classifier gives the class of their caption."
        ),
        "reconstruction_agreement": "The same of real test images that went through the tokens.",
        "bits_per_image_token": (
            "-log2 p(token | caption, tokens before), mean over 1,000 test images."
        ),
        "squared_error": "Of the decoded tokens of test images, pixels in [0, 1].",
        "hard_elbo": (
            "Bound with hard codes and the uniform prior, nats an image (a density of pixels in [0,"
            " 1])."
        ),
        "relaxed_elbo": (
            "With relaxed codes at the final temperature: not a bound; close where the gap has"
            " closed."
        ),
        "test_kl": "KL of the posterior to the uniform prior, nats an image.",
        "distance_to_train": "Median distance of generated images to the nearest training image.",
        "test_distance_to_train": "The same for real test images.",
    },
)
