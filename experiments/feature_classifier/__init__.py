"""The small classifier behind image metrics: Fréchet and kernel distance, precision and recall on
its features.

    python -m experiments.feature_classifier --data fashion_mnist

A convolutional network (64 and 128 channels, 128 features) on the real training set, three epochs
of Adam with a cosine schedule. `gan_images` trains it by itself if it is missing. Weights:
models/feature_classifier.safetensors in the run folder.
"""

import dataclasses

from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import OPTIMIZER_READ_WHERE, OPTIMIZER_SWEEPABLE, OptimizerConfig


@dataclasses.dataclass(frozen=True)
class Config(OptimizerConfig):
    """Train a small image classifier; its last hidden layer gives the features of image metrics."""

    data: str = "auto"
    """Images by name: fashion_mnist, mnist, digits, ..., or the path of a folder
    (dgm_jax.data.load); auto takes the first of fashion_mnist, mnist_5k and digits that is
    installed."""
    num_seeds: int = 1
    num_steps: int = 1_400
    log_every: int = 350
    batch_size: int = 128
    """Images in a step."""
    learning_rate: float = 1e-3
    """Learning rate at the start; by default it falls to zero along a cosine (schedule)."""


EXPERIMENT = Experiment(
    name="feature_classifier",
    chapter="Image metrics",
    config=Config,
    task=f"{__name__}.task",
    sweepable=("learning_rate", *OPTIMIZER_SWEEPABLE),
    data_settings=("data",),
    read_where=OPTIMIZER_READ_WHERE,
    headline=("test_accuracy", "test_cross_entropy"),
    better={"test_accuracy": "higher", "test_cross_entropy": "lower"},
    ranges={"test_accuracy": (0, 1), "test_cross_entropy": (0, None)},
    explanations={
        "test_accuracy": "Share of test images whose most probable class is the label.",
        "test_cross_entropy": "Mean of -log p(label | image) over the test set, in nats.",
    },
)
