"""The convolutional encoder and decoder of `networks.residual` in PyTorch, for the benchmarks'
peers."""

import numpy as np


def make(torch, code_width: int, channels: int, width: int = 128, residual_width: int = 32) -> dict:
    """Encoder and decoder; each convolution in the order of the library's parameters."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.path = nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(width, residual_width, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(residual_width, width, 1),
            )

        def forward(self, x):
            return x + self.path(x)

    encoder = nn.Sequential(
        nn.Conv2d(1, width // 2, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(width // 2, width, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        Block(),
        Block(),
        nn.ReLU(),
        nn.Conv2d(width, code_width, 1),
    )
    decoder = nn.Sequential(
        nn.Conv2d(code_width, width, 3, padding=1),
        Block(),
        Block(),
        nn.ReLU(),
        nn.ConvTranspose2d(width, width // 2, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(width // 2, channels, 4, 2, 1),
    )
    return {"encoder": encoder, "decoder": decoder}


def load(torch, nets: dict, params: dict) -> None:
    """Takes over the weights of the JAX networks."""
    nn = torch.nn
    for name, net in nets.items():
        own = params[name]
        outer = [m for m in net if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
        blocks = [
            [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)]
            for block in net
            if isinstance(getattr(block, "path", None), nn.Sequential)
        ]
        plain = [layer for layer in outer if isinstance(layer, nn.Conv2d)]
        turned = [layer for layer in outer if isinstance(layer, nn.ConvTranspose2d)]
        found = [(own[f"Conv_{i}"], layer) for i, layer in enumerate(plain)]
        found += [(own[f"ConvTranspose_{i}"], layer) for i, layer in enumerate(turned)]
        found += [
            (own[f"ResidualBlock_{b}"][f"Conv_{i}"], layer)
            for b, block in enumerate(blocks)
            for i, layer in enumerate(block)
        ]
        for weights, layer in found:
            kernel = np.asarray(weights["kernel"])
            flip = isinstance(layer, nn.ConvTranspose2d)
            kernel = (
                kernel[::-1, ::-1].transpose(2, 3, 0, 1) if flip else kernel.transpose(3, 2, 0, 1)
            )
            layer.weight.data.copy_(torch.from_numpy(kernel.copy()))
            layer.bias.data.copy_(torch.from_numpy(np.asarray(weights["bias"]).copy()))
