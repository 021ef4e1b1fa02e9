"""Draws by PyTorch."""

import torch

from benchmarks.contract import Case


def gumbel_max(rows: int, classes: int) -> Case:
    """Hard draws."""
    logits = torch.randn(rows, classes)
    draw = lambda: (logits - torch.empty_like(logits).exponential_().log()).argmax(1)
    return Case(draw, rows)


def gumbel_softmax(rows: int, classes: int) -> Case:
    """Relaxed draws, and the gradient of the sum of their squares."""
    logits = torch.randn(rows, classes, requires_grad=True)

    def call():
        drawn = torch.nn.functional.gumbel_softmax(logits, tau=0.5)
        return torch.autograd.grad((drawn**2).sum(), logits)

    return Case(call, rows)
