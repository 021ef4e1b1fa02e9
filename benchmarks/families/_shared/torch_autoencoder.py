"""The convolutional encoder and decoder of `networks.residual` in PyTorch, for the peers."""

import numpy as np
import torch
from torch import nn


class _Block(nn.Module):
    def __init__(self, width: int, residual_width: int):
        super().__init__()
        self.path = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(width, residual_width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(residual_width, width, 1),
        )

    def forward(self, x):
        return x + self.path(x)


def make(code_width: int, channels: int, width: int, residual_width: int) -> dict:
    """Encoder and decoder; each convolution in the order of the library's parameters."""
    block = lambda: _Block(width, residual_width)
    encoder = nn.Sequential(
        nn.Conv2d(1, width // 2, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(width // 2, width, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        block(),
        block(),
        nn.ReLU(),
        nn.Conv2d(width, code_width, 1),
    )
    decoder = nn.Sequential(
        nn.Conv2d(code_width, width, 3, padding=1),
        block(),
        block(),
        nn.ReLU(),
        nn.ConvTranspose2d(width, width // 2, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(width // 2, channels, 4, 2, 1),
    )
    return {"encoder": encoder, "decoder": decoder}


def load(nets: dict, params: dict) -> None:
    """Takes over the weights of the JAX networks."""
    for name, net in nets.items():
        for weights, layer in _pairs(net, params[name]):
            kernel = np.asarray(weights["kernel"])
            if isinstance(layer, nn.ConvTranspose2d):
                kernel = kernel[::-1, ::-1].transpose(2, 3, 0, 1)
            else:
                kernel = kernel.transpose(3, 2, 0, 1)
            layer.weight.data.copy_(torch.from_numpy(kernel.copy()))
            layer.bias.data.copy_(torch.from_numpy(np.array(weights["bias"])))


def _pairs(net: nn.Sequential, own: dict) -> list[tuple[dict, nn.Module]]:
    """(weights, layer) of each convolution."""
    of = lambda kind: [layer for layer in net if isinstance(layer, kind)]
    found = [(own[f"Conv_{i}"], layer) for i, layer in enumerate(of(nn.Conv2d))]
    found += [(own[f"ConvTranspose_{i}"], y) for i, y in enumerate(of(nn.ConvTranspose2d))]
    for b, block in enumerate(of(_Block)):
        inner = [layer for layer in block.path if isinstance(layer, nn.Conv2d)]
        found += [(own[f"ResidualBlock_{b}"][f"Conv_{i}"], y) for i, y in enumerate(inner)]
    return found
