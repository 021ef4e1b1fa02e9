"""The VAE with categorical latents in PyTorch."""

import math

import torch

from benchmarks.contract import Case
from benchmarks.families._shared import torch_dense, torch_training
from benchmarks.families._shared.images import binary_images
from benchmarks.families._shared.torch_training import DEVICE, binary_loss, rows, update
from benchmarks.families.gumbel_vae import CLASSES, LATENTS, NUM_IMAGES, widths


class TorchGumbelVae:
    """The same model, data and optimizer, at temperature 1."""

    def __init__(self, width: int, batch: int, device: str = DEVICE):
        self.batch = batch
        first, second = widths(width)
        self.encoder = torch_dense.mlp(first, torch.nn.ReLU).to(device)
        self.decoder = torch_dense.mlp(second, torch.nn.ReLU).to(device)
        weights = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.adam = torch.optim.Adam(weights, 1e-3, fused=True)
        self.images = torch.from_numpy(binary_images(NUM_IMAGES)).flatten(1).to(device)

    def load(self, params):
        """Takes over the weights of the JAX model."""
        torch_dense.load(self.encoder, params["encoder"])
        torch_dense.load(self.decoder, params["decoder"])

    def loss(self, x, relaxed=None):
        """-ELBO; `relaxed` [B, latents, classes] stands for the relaxed draw."""
        logits = self.encoder(x).unflatten(1, (LATENTS, CLASSES))
        if relaxed is None:
            relaxed = torch.nn.functional.gumbel_softmax(logits, tau=1.0)
        log_q = torch.log_softmax(logits, -1)
        kl = (log_q.exp() * log_q).sum((1, 2)) + LATENTS * math.log(CLASSES)
        return (binary_loss(self.decoder(relaxed.flatten(1)), x) + kl).mean()

    def step(self):
        """One update on a fresh batch."""
        update(self.adam, self.loss(rows(self.images, self.batch).float()))


def eager(shape: dict[str, int], steps: int, compiled: bool = False) -> Case:
    """One seed."""
    return torch_training.eager(TorchGumbelVae(**shape), steps, compiled=compiled)
