"""The ring GAN in PyTorch."""

import torch

from benchmarks.contract import Case
from benchmarks.families import gan_ring
from benchmarks.families._shared import torch_dense, torch_training
from benchmarks.families._shared.torch_training import DEVICE, update

softplus = torch.nn.functional.softplus


class TorchGan:
    """The same model, losses, optimizer and data."""

    def __init__(self, width: int, batch: int, fused: bool = True, device: str = DEVICE):
        self.batch, self.device = batch, device
        leaky = lambda: torch.nn.LeakyReLU(0.2)
        both = gan_ring.widths(width).items()
        self.nets = {name: torch_dense.mlp(each, leaky).to(device) for name, each in both}
        self.adam = {
            name: torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999), fused=fused)
            for name, net in self.nets.items()
        }
        angles = torch.arange(8, device=device) * (2 * torch.pi / 8)
        self.centres = 2.0 * torch.stack([angles.cos(), angles.sin()], 1)

    def load(self, params):
        """Takes over the weights of the JAX model."""
        for name, net in self.nets.items():
            torch_dense.load(net, params[name])

    def real(self):
        """Fresh samples of the ring."""
        which = torch.randint(8, (self.batch,), device=self.device)
        return self.centres[which] + 0.1 * torch.randn(self.batch, 2, device=self.device)

    def noise(self):
        """Latents."""
        return torch.randn(self.batch, gan_ring.LATENT, device=self.device)

    def discriminator_loss(self, x, z):
        """Binary cross-entropy, real and fake summed, in one pass."""
        with torch.no_grad():
            fake = self.nets["generator"](z)
        real_logits, fake_logits = self.nets["discriminator"](torch.cat([x, fake])).chunk(2)
        return softplus(-real_logits).mean() + softplus(fake_logits).mean()

    def generator_loss(self, z):
        """Non-saturating."""
        return softplus(-self.nets["discriminator"](self.nets["generator"](z))).mean()

    def step(self):
        """D on a fresh batch, then G on another."""
        update(self.adam["discriminator"], self.discriminator_loss(self.real(), self.noise()))
        update(self.adam["generator"], self.generator_loss(self.noise()))


def eager(
    shape: dict[str, int], steps: int, threads: int | None = None, compiled: bool = False
) -> Case:
    """One seed."""
    losses = ("discriminator_loss", "generator_loss")
    return torch_training.eager(
        TorchGan(**shape), steps, losses=losses, threads=threads, compiled=compiled
    )
