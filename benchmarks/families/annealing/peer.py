"""The chains in PyTorch, all in one batch."""

import numpy as np
import torch

from benchmarks.contract import Case
from benchmarks.families._shared import torch_dense
from benchmarks.families._shared.torch_training import DEVICE
from benchmarks.families.annealing import LEAPFROG, STEP_SIZE, WIDTHS


class TorchAnnealing:
    """The same algorithm."""

    def __init__(self, device: str = DEVICE):
        self.decoder = torch_dense.mlp(WIDTHS, torch.nn.ReLU).to(device)
        self.decoder.requires_grad_(False)

    def load(self, params):
        """Takes over the decoder's weights."""
        torch_dense.load(self.decoder, params)

    def evaluate(self, x, z):
        """(log p(x | z) [n, b], its gradient in z)."""
        z = z.detach().requires_grad_()
        losses = torch.nn.functional.binary_cross_entropy_with_logits(
            self.decoder(z), x.expand(len(z), -1, -1), reduction="none"
        )
        value = -losses.sum(-1)
        return value.detach(), torch.autograd.grad(value.sum(), z)[0]

    def transition(self, x, at, beta):
        """HMC on N(0, I) p(x | z)^beta from at = (z, log p(x | z), gradient)."""
        z, value, slope = at
        first = p = torch.randn_like(z)
        for _ in range(LEAPFROG):
            p = p + STEP_SIZE / 2 * (beta * slope - z)
            z = z + STEP_SIZE * p
            value, slope = self.evaluate(x, z)
            p = p + STEP_SIZE / 2 * (beta * slope - z)
        energy = lambda z, value, p: beta * value - (z * z).sum(-1) / 2 - (p * p).sum(-1) / 2
        accept = torch.rand_like(value).log() < energy(z, value, p) - energy(at[0], at[1], first)
        choose = lambda new, old: torch.where(
            accept.reshape(*accept.shape, *[1] * (new.ndim - 2)), new, old
        )
        return tuple(map(choose, (z, value, slope), at))

    def log_weights(self, x, chains: int, ladder: int):
        """[n, b] after `ladder` distributions on a linear schedule."""
        z = torch.randn(chains, len(x), WIDTHS[0], device=x.device)
        at, total = (z, *self.evaluate(x, z)), 0
        for t in range(1, ladder):
            total = total + at[1] / ladder
            at = self.transition(x, at, t / ladder)
        return total + at[1] / ladder


def chains(images: int, chains: int, ladder: int) -> Case:
    """All chains of all images."""
    drawn = np.random.default_rng(0).integers(0, 2, (images, WIDTHS[-1])).astype(np.float32)
    peer, x = TorchAnnealing(), torch.from_numpy(drawn).to(DEVICE)
    return Case(lambda: peer.log_weights(x, chains, ladder), images * chains * (ladder - 1))
