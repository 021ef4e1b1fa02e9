"""The discrete VAE in PyTorch."""

import math

import torch

from benchmarks.contract import Case
from benchmarks.families._shared import torch_autoencoder, torch_training
from benchmarks.families._shared.images import noise_images
from benchmarks.families._shared.torch_dense import image_tensor
from benchmarks.families._shared.torch_training import DEVICE, rows, update
from benchmarks.families.discrete_vae import GRID, NUM_IMAGES, TEMPERATURE


class TorchDiscreteVae:
    """The same model, loss and optimizer."""

    def __init__(
        self,
        width: int,
        residual_width: int,
        codes: int,
        batch: int,
        channels_last: bool,
        device: str = DEVICE,
    ):
        self.codes, self.batch_size = codes, batch
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        nets = torch_autoencoder.make(codes, 2, width, residual_width)
        self.nets = {name: net.to(device, memory_format=self.layout) for name, net in nets.items()}
        self.adam = torch.optim.Adam(self.weights(), 3e-4, fused=True)
        self.images = image_tensor(noise_images(NUM_IMAGES)).to(device)

    def weights(self):
        """All parameters."""
        return [w for net in self.nets.values() for w in net.parameters()]

    def load(self, params):
        """Takes over the weights of the JAX model."""
        torch_autoencoder.load(self.nets, params)

    def batch(self):
        """Random images in [0, 1]."""
        images = rows(self.images, self.batch_size).float() / 255
        return images.contiguous(memory_format=self.layout)

    def loss(self, x, noise=None):
        """Negative bound with relaxed codes, nats an image; noise [B, K, 7, 7] is Gumbel's."""
        logits = self.nets["encoder"](x)
        if noise is None:
            noise = -torch.empty_like(logits).exponential_().log()
        z = torch.softmax((logits + noise) / TEMPERATURE, dim=1)
        loc, log_scale = self.nets["decoder"](z).chunk(2, dim=1)
        v = 0.8 * x + 0.1
        log_p = -(torch.logit(v) - loc).abs() * torch.exp(-log_scale) - log_scale - math.log(2.0)
        log_p = log_p - v.log() - torch.log1p(-v) + math.log(0.8)
        log_q = torch.log_softmax(logits, dim=1)
        places = GRID[0] * GRID[1]
        kl = (log_q.exp() * log_q).sum(dim=(1, 2, 3)) + places * math.log(self.codes)
        return (kl - log_p.sum(dim=(1, 2, 3))).mean()

    def step(self):
        """One Adam step on a random batch."""
        update(self.adam, self.loss(self.batch()))


def eager(
    shape: dict[str, int],
    steps: int,
    channels_last: bool,
    compiled: bool = False,
    autocast: bool = False,
) -> Case:
    """One seed."""
    model = TorchDiscreteVae(**shape, channels_last=channels_last)
    return torch_training.eager(model, steps, compiled=compiled, autocast=autocast)
