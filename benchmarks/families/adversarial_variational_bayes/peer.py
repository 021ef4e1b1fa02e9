"""Adversarial variational Bayes in PyTorch."""

import math

import torch
from torch import nn

from benchmarks.contract import Case
from benchmarks.families._shared import torch_dense, torch_training
from benchmarks.families._shared.images import binary_images
from benchmarks.families._shared.torch_training import DEVICE, binary_loss, rows, update
from benchmarks.families.adversarial_variational_bayes import (
    B1,
    BLOCKS,
    LATENT,
    NOISE,
    NUM_IMAGES,
    PIXELS,
    RATES,
    widths,
)

functional = nn.functional


class TorchAvb:
    """The same model, data and optimizers."""

    def __init__(self, hidden: int, critic: int, batch: int, device: str = DEVICE):
        self.batch, self.device = batch, device
        first, second, _ = widths(hidden, critic)
        self.encoder = torch_dense.mlp(first, nn.ELU).to(device)
        self.decoder = torch_dense.mlp(second, nn.ReLU).to(device)
        layers = {"input": nn.Linear(PIXELS + LATENT, critic), "output": nn.Linear(critic, 1)}
        for block in range(BLOCKS):
            for name in (f"inner_{block}", f"outer_{block}"):
                layers[name] = nn.Linear(critic, critic)
            nn.init.zeros_(layers[f"outer_{block}"].weight)
        self.critic = nn.ModuleDict(layers).to(device)
        own = {
            "vae": [*self.encoder.parameters(), *self.decoder.parameters()],
            "critic": self.critic.parameters(),
        }
        self.adam = {
            name: torch.optim.Adam(values, RATES[name], (B1, 0.999), fused=True)
            for name, values in own.items()
        }
        images = torch.from_numpy(binary_images(NUM_IMAGES)).reshape(NUM_IMAGES, PIXELS)
        self.images = images.to(device)

    def load(self, params):
        """Takes over the weights of the JAX model."""
        torch_dense.load(self.encoder, params["encoder"]["MLP_0"])
        torch_dense.load(self.decoder, params["decoder"])
        for name, layer in self.critic.items():
            torch_dense.load_layer(layer, params["critic"][name])

    def draw(self):
        """A random batch."""
        return rows(self.images, self.batch).float()

    def normal(self, size):
        """Standard normal numbers for a batch."""
        return torch.randn(self.batch, size, device=self.device)

    def logits(self, x, z):
        """T(x, z): the critic's network minus log p(z)."""
        h = functional.elu(self.critic["input"](torch.cat([x, z], 1)))
        for block in range(BLOCKS):
            inner = self.critic[f"inner_{block}"](h).relu()
            h = functional.elu(h + self.critic[f"outer_{block}"](inner))
        return self.critic["output"](h)[:, 0] + 0.5 * (z * z + math.log(2 * math.pi)).sum(1)

    def vae_loss(self, x, noise):
        """-E_q [log p(x | z) - T(x, z)]."""
        z = self.encoder(torch.cat([x, noise], 1))
        return (binary_loss(self.decoder(z), x) + self.logits(x, z)).mean()

    def critic_loss(self, x, noise, other):
        """Logistic, posterior draws against prior draws."""
        with torch.no_grad():
            z = self.encoder(torch.cat([x, noise], 1))
        softplus = functional.softplus
        return softplus(-self.logits(x, z)).mean() + softplus(self.logits(x, other)).mean()

    def step(self):
        """Encoder and decoder, then the critic on a fresh batch."""
        self.critic.requires_grad_(False)
        update(self.adam["vae"], self.vae_loss(self.draw(), self.normal(NOISE)))
        self.critic.requires_grad_(True)
        loss = self.critic_loss(self.draw(), self.normal(NOISE), self.normal(LATENT))
        update(self.adam["critic"], loss)


def eager(shape: dict[str, int], steps: int, compiled: bool = False) -> Case:
    """One seed."""
    losses = ("vae_loss", "critic_loss")
    return torch_training.eager(TorchAvb(**shape), steps, losses=losses, compiled=compiled)
