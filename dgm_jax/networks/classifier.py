"""A small convolutional classifier whose last hidden layer gives features for distances between
images."""

import flax.linen as nn
import jax.numpy as jnp

from dgm_jax.core import Array
from dgm_jax.networks.layers import convolution
from dgm_jax.networks.layers.dense import Dense


class Classifier(nn.Module):
    """Images [B, H, W, C] -> (features [B, num_features], logits [B, num_classes]).

    Convolutions 4x4 of stride 2 with the given widths and ReLU, a dense layer whose ReLU are the
    features, and a linear head. Evaluation compares distributions of the features.
    """

    num_classes: int = 10
    widths: tuple[int, ...] = (64, 128)
    num_features: int = 128
    backend: str | None = None

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        for width in self.widths:
            x = nn.relu(convolution.Conv(width, (4, 4), 2, backend=self.backend)(x))
        features = nn.relu(convolution.DenseFromImage(self.num_features)(x))
        return features, Dense(self.num_classes, init_name="glorot")(features).astype(jnp.float32)
