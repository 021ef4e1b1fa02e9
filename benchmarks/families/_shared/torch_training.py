"""Cases of PyTorch: steps of a model on its best terms."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from benchmarks.contract import Case

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Model(Protocol):
    """A model with its optimizers and data."""

    def step(self) -> None:
        """One update of every player, with the drawing of its batches."""
        ...


def eager(
    model: Model,
    steps: int,
    *,
    losses: Sequence[str] = ("loss",),
    threads: int | None = None,
    compiled: bool = False,
    autocast: bool = False,
) -> Case:
    """`steps` steps of one seed.

    Args:
        model: what to train.
        steps: of one call.
        losses: names of the methods that compute them.
        threads: of PyTorch; None for its default.
        compiled: whether `torch.compile` takes the losses.
        autocast: whether they compute under `torch.autocast` to bfloat16.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    for name in losses:
        loss = getattr(model, name)
        loss = torch.autocast(DEVICE, torch.bfloat16)(loss) if autocast else loss
        setattr(model, name, torch.compile(loss) if compiled else loss)

    def call() -> None:
        for _ in range(steps):
            model.step()

    return Case(call, steps)


def update(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """One step of an optimizer."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def rows(images: torch.Tensor, batch: int) -> torch.Tensor:
    """Random rows of the images."""
    return images[torch.randint(len(images), (batch,), device=images.device)]


def binary_loss(logits: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of Bernoulli pixels, summed over all but the first axis."""
    functional: Callable[..., torch.Tensor] = torch.nn.functional.binary_cross_entropy_with_logits
    return functional(logits, x, reduction="none").sum(1)
