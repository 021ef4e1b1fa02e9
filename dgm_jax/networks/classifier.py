"""A small convolutional classifier whose last hidden layer gives features for distances between
images."""

import flax.linen as nn
import jax.numpy as jnp

from dgm_jax.core import Array
from dgm_jax.networks.layers import convolution
from dgm_jax.networks.layers.dense import Dense, DenseFromImage


class Classifier(nn.Module):
    """Images [B, H, W, C] -> (features [B, num_features], logits [B, num_classes]).

    4x4 convolutions of stride 2 with ReLU, a dense layer whose ReLU activations are the features,
    and a linear head. Evaluation compares distributions of the features.

    Attributes:
        num_classes: number of labels.
        widths: channels of the convolutions.
        num_features: number of features.
        backend: of the convolutions; None for what was asked for.
    """

    num_classes: int = 10
    widths: tuple[int, ...] = (64, 128)
    num_features: int = 128
    backend: str | None = None

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Compute features and logits of images x [B, H, W, C]."""
        for width in self.widths:
            x = nn.relu(convolution.Conv(width, (4, 4), 2, backend=self.backend)(x))
        features = nn.relu(DenseFromImage(self.num_features)(x))
        logits = Dense(self.num_classes, init_name="glorot")(features)
        return features, logits.astype(jnp.float32)
