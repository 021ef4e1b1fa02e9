"""The small classifier behind image metrics: Fréchet and kernel distance, precision and recall on
its features.

    python -m experiments.feature_classifier --data fashion_mnist

A convolutional network (64 and 128 channels, 128 features) on the real training set, three epochs
of Adam with a cosine schedule. `gan_images` trains it by itself if it is missing. Weights:
parameters/feature_classifier.npz in the run folder.
"""

import sys

from dgm_jax.run import main
from dgm_jax.studies.feature_classifier import EXPERIMENT

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
