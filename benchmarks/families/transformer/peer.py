"""The transformer in PyTorch."""

import numpy as np
import torch

from benchmarks.contract import Case
from benchmarks.families._shared import torch_training
from benchmarks.families._shared.torch_training import DEVICE, rows, update
from benchmarks.families._shared.torch_transformer import TorchTransformer, leaves
from benchmarks.families.transformer import HEADS, IDS, NUM_ROWS


def initial(width: int, layers: int, length: int) -> dict:
    """Weights N(0, .02^2) in the library's tree."""
    draw = lambda *shape: np.random.default_rng(0).normal(0, 0.02, shape).astype(np.float32)
    scale = lambda: {"scale": np.ones(width, np.float32), "bias": np.zeros(width, np.float32)}
    dense = lambda a, b: {"kernel": draw(a, b), "bias": np.zeros(b, np.float32)}
    block = lambda: {
        "norm_attention": scale(),
        "query_key_value": dense(width, 3 * width),
        "attention_out": dense(width, width),
        "norm_mlp": scale(),
        "mlp_in": dense(width, 4 * width),
        "mlp_out": dense(4 * width, width),
    }
    tables = {"token": IDS, "start": 1, "position": length}
    return {
        **{f"{name}_embedding": draw(size, width) for name, size in tables.items()},
        **{f"blocks_{layer}": block() for layer in range(layers)},
        "norm": scale(),
        "head": dense(width, IDS),
    }


class TorchTraining:
    """Model, optimizer and data."""

    def __init__(self, params: dict, batch: int, length: int, device: str = DEVICE):
        self.net, self.batch = TorchTransformer(params, HEADS, length), batch
        weights = leaves(self.net.weights)
        for weight in weights:
            weight.data = weight.data.to(device)
            weight.requires_grad_()
        self.adam = torch.optim.Adam(weights, 3e-4, fused=True)
        drawn = np.random.default_rng(0).integers(0, IDS, (NUM_ROWS, length))
        self.rows = torch.from_numpy(drawn).to(device)

    def loss(self, tokens):
        """Nats per row."""
        losses = torch.nn.functional.cross_entropy(
            self.net.logits(tokens).flatten(0, 1), tokens.flatten(), reduction="sum"
        )
        return losses / len(tokens)

    def step(self):
        """One update on a random batch."""
        update(self.adam, self.loss(rows(self.rows, self.batch)))


def eager(
    shape: dict[str, int], steps: int, compiled: bool = False, autocast: bool = False
) -> Case:
    """One seed."""
    sizes = {name: shape[name] for name in ("width", "layers", "length")}
    made = TorchTraining(initial(**sizes), shape["batch"], shape["length"])
    return torch_training.eager(made, steps, compiled=compiled, autocast=autocast)
