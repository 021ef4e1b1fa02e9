"""Convolutions in PyTorch, channels last."""

import numpy as np
import torch

from benchmarks.contract import Case
from benchmarks.families._shared.torch_training import DEVICE
from benchmarks.families.convolutions import BATCH, LAYERS, RATE


def same_padding(side: int, size: int, stride: int) -> tuple[int, int]:
    """(before, after) of "SAME"."""
    outputs = -(-side // stride)
    total = max(0, (outputs - 1) * stride + size - side)
    return total // 2, total - total // 2


def steps(layer: str, dtype: str, steps: int) -> Case:
    """The same steps, eagerly."""
    size, stride, channels, features, side = LAYERS[layer]
    draw = np.random.default_rng(0).normal
    images, kernel = (
        draw(size=(BATCH, channels, side, side)),
        draw(size=(features, channels, size, size)),
    )
    place = {
        "device": DEVICE,
        "dtype": getattr(torch, dtype),
        "memory_format": torch.channels_last,
    }
    x = torch.tensor(images).to(**place).requires_grad_()
    w = torch.tensor(kernel / np.sqrt(size * size * channels)).to(**place).requires_grad_()
    before, after = same_padding(side, size, stride)

    def call():
        for _ in range(steps):
            x.grad = w.grad = None
            even = before == after
            padded = x if even else torch.nn.functional.pad(x, (before, after) * 2)
            y = torch.nn.functional.conv2d(padded, w, stride=stride, padding=before if even else 0)
            y.float().square().mean().backward()
            with torch.no_grad():
                for weight in (x, w):
                    weight -= RATE * weight.grad

    return Case(call, steps)
