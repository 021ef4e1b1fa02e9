"""Multilayer perceptrons."""

from collections.abc import Callable

import flax.linen as nn

from dgm_jax.core import Array, require
from dgm_jax.networks.layers.activations import activation
from dgm_jax.networks.layers.dense import Dense
from dgm_jax.networks.layers.normalization import normalize


class MLP(nn.Module):
    """Dense layers, the last one linear: x [*B, D] -> [*B, features[-1]].

    The toy networks of the literature: G of PacGAN is
    `MLP((400,) * 4 + (2,), "relu", "normal_0.02", normalization="batch")`, its D
    `MLP((200,) * 3 + (1,), init_name="normal_0.02", maxout_pieces=5, squeeze=True)` (Lin et al.
    2018); both players of Metz et al. 2017 `MLP((128, 128, n), "tanh", "orthogonal", gain=1.4)` in
    the public notebook, relu and gain .8 in the paper's appendix.

    Attributes:
        features: widths of the layers.
        activation: a name of `networks.ACTIVATIONS` or a function, after each hidden layer.
        init_name: a name of `networks.INITIALIZERS`; "torch" draws weight and bias from
            U(+-1/sqrt(fan_in)).
        gain: factor on the drawn weights, as in "orthogonal with gain .8".
        normalization: of each hidden layer before its activation, with no bias in it: "none",
            "batch", "layer" or "group_N" (`networks.normalize`).
        maxout_pieces: if positive, hidden layers are the maximum over that many linear maps
            (Goodfellow et al. 2013) and `activation` is not used.
        squeeze: drop the last axis of a one-dimensional output, such as a discriminator's logit.
        momentum: of batch norm's averages.

    Raises:
        ConfigError: there is no width, or `squeeze` with more than one output.
    """

    features: tuple[int, ...] = (128, 128, 2)
    activation: str | Callable = "leaky_relu"
    init_name: str = "torch"
    gain: float = 1.0
    normalization: str = "none"
    maxout_pieces: int = 0
    squeeze: bool = False
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Map x [*B, D] to [*B, features[-1]]."""
        require(len(self.features) > 0, "an MLP needs at least one width in `features`")
        require(
            not self.squeeze or self.features[-1] == 1,
            f"squeeze needs one output, got features[-1] = {self.features[-1]}",
        )
        function = activation(self.activation)
        pieces = max(self.maxout_pieces, 1)
        use_bias = self.normalization == "none"
        for index, width in enumerate(self.features[:-1]):
            name = f"Dense_{index}"
            x = Dense(width * pieces, use_bias, self.init_name, self.gain, name=name)(x)
            rows = x.reshape(-1, width * pieces)  # for the normalization each vector is an example
            x = normalize(self.normalization, index, self.momentum)(rows, train).reshape(x.shape)
            if self.maxout_pieces:
                x = x.reshape(*x.shape[:-1], width, pieces).max(-1)
            else:
                x = function(x)
        last = len(self.features) - 1
        x = Dense(self.features[-1], True, self.init_name, self.gain, name=f"Dense_{last}")(x)
        return x[..., 0] if self.squeeze else x
