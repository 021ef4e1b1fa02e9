"""The transitions in PyTorch, all chains in one batch."""

import numpy as np
import torch

from benchmarks.contract import Case
from benchmarks.families._shared.torch_training import DEVICE
from benchmarks.families.annealing import WIDTHS
from benchmarks.families.annealing.peer import TorchAnnealing


def transitions(images: int, chains: int, steps: int) -> Case:
    """Of all chains of all images."""
    drawn = np.random.default_rng(0).integers(0, 2, (images, WIDTHS[-1])).astype(np.float32)
    peer, x = TorchAnnealing(), torch.from_numpy(drawn).to(DEVICE)
    z = torch.randn(chains, images, WIDTHS[0], device=DEVICE)

    def call():
        at = z, *peer.evaluate(x, z)
        for _ in range(steps):
            at = peer.transition(x, at, 1.0)
        return at

    return Case(call, images * chains * steps)
