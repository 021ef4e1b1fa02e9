"""Floating-point operations and bytes of a step, counted by formula.

A network is a list of operations per example, one number for each layer with weights: a product or
a convolution, a multiplication and an addition counted as two. Activations, normalization,
optimizers and draws are left out, so shares of the peak are lower bounds. A gradient in the weights
takes as many operations as the layer, and so does one in its input.
"""

import itertools
from collections.abc import Sequence

Network = Sequence[float]

FLOAT = 4  # bytes
# Adam reads gradient, parameter and two moments, and writes the last three.
_ADAM_NUMBERS = 7


def product(rows: int, inner: int, columns: int) -> float:
    """[rows, inner] @ [inner, columns]."""
    return 2.0 * rows * inner * columns


def dense(widths: Sequence[int]) -> list[float]:
    """Dense layers of these widths, from input to output."""
    return [product(1, a, b) for a, b in itertools.pairwise(widths)]


def convolution(kernel: int, channels: int, features: int, side: int) -> float:
    """A square kernel over `side` x `side` places: those of the output, or of the input where it
    is transposed. Taps outside of the image are counted."""
    return 2.0 * kernel * kernel * channels * features * side * side


def forward(network: Network) -> float:
    """Operations of an example without gradients."""
    return float(sum(network))


def backward(network: Network, *, weights: bool = True, to_input: bool = False) -> float:
    """Operations of the gradients in the weights and in every layer's input; `to_input` is about
    the input of the first layer."""
    inputs = sum(network) if to_input else sum(network[1:])
    return float(inputs + (sum(network) if weights else 0.0))


def trained(network: Network, *, to_input: bool = False) -> float:
    """Forward and backward."""
    return forward(network) + backward(network, to_input=to_input)


def gan_step(generator: Network, discriminator: Network, batch: int) -> float:
    """An update of the discriminator on `batch` real and as many fake examples, then one of the
    generator."""
    first = forward(generator) + 2 * trained(discriminator)
    through = forward(discriminator) + backward(discriminator, weights=False, to_input=True)
    return batch * (first + trained(generator) + through)


def autoencoder_step(encoder: Network, decoder: Network, batch: int) -> float:
    """An update of both through the codes."""
    return batch * (trained(encoder) + trained(decoder, to_input=True))


def num_weights(widths: Sequence[int]) -> int:
    """Weights and biases of dense layers."""
    return sum((a + 1) * b for a, b in itertools.pairwise(widths))


def adam_bytes(num_parameters: int) -> float:
    """Of one Adam step in float32."""
    return float(FLOAT * _ADAM_NUMBERS * num_parameters)


def residual_encoder(channels: int, features: int, width: int, residual: int, side: int) -> Network:
    """`networks.ResidualEncoder` on images of side x side, with two blocks."""
    half, quarter = side // 2, side // 4
    block = [convolution(3, width, residual, quarter), convolution(1, residual, width, quarter)]
    return [
        convolution(4, channels, width // 2, half),
        convolution(4, width // 2, width, quarter),
        convolution(3, width, width, quarter),
        *block,
        *block,
        convolution(1, width, features, quarter),
    ]


def residual_decoder(codes: int, features: int, width: int, residual: int, side: int) -> Network:
    """`networks.ResidualDecoder` to images of side x side, with two blocks."""
    quarter = side // 4
    block = [convolution(3, width, residual, quarter), convolution(1, residual, width, quarter)]
    return [
        convolution(3, codes, width, quarter),
        *block,
        *block,
        convolution(4, width, width // 2, quarter),
        convolution(4, width // 2, features, side // 2),
    ]


def transformer(width: int, layers: int, seen: float, ids: int) -> Network:
    """Of one token that attends to `seen` others: joint projection, scores, mixing, output, two
    dense layers of four times the width; then the head."""
    attention = [product(1, width, 3 * width), 2 * product(1, width, 1) * seen]
    block = [*attention, product(1, width, width), *dense((width, 4 * width, width))]
    return [*block * layers, product(1, width, ids)]
