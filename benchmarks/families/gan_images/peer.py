"""The DCGAN in PyTorch."""

import numpy as np
import torch
from torch import nn

from benchmarks.contract import Case
from benchmarks.families._shared import torch_training
from benchmarks.families._shared.images import noise_images
from benchmarks.families._shared.torch_dense import image_tensor
from benchmarks.families._shared.torch_training import DEVICE, rows, update
from benchmarks.families.gan_images import LATENT, NUM_IMAGES

softplus = torch.nn.functional.softplus


def make(features: int) -> dict[str, nn.Sequential]:
    """Both networks."""
    f = features
    generator = nn.Sequential(
        nn.Linear(LATENT, 7 * 7 * 2 * f, bias=False),
        nn.Unflatten(1, (2 * f, 7, 7)),
        nn.BatchNorm2d(2 * f),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * f, f, 4, 2, 1, bias=False),
        nn.BatchNorm2d(f),
        nn.ReLU(),
        nn.ConvTranspose2d(f, 1, 4, 2, 1),
        nn.Tanh(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(1, f, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(f, 2 * f, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(2 * f * 7 * 7, 1),
    )
    return {"generator": generator, "discriminator": discriminator}


class TorchGan:
    """The same model, losses, optimizer and data."""

    def __init__(self, features: int, batch: int, channels_last: bool, device: str = DEVICE):
        self.features, self.batch = features, batch
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.nets = make(features)
        for net in self.nets.values():
            net.to(device=device, memory_format=self.layout)
            for layer in net:
                if hasattr(layer, "weight") and not isinstance(layer, nn.BatchNorm2d):
                    nn.init.normal_(layer.weight, std=0.02)
        self.adam = {
            name: torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999), fused=True)
            for name, net in self.nets.items()
        }
        self.images = image_tensor(noise_images(NUM_IMAGES)).to(device)

    def load(self, params):
        """Takes over the weights of the JAX model."""
        values = weights_of(params, self.features)
        for name, net in self.nets.items():
            own = dict(net.named_parameters())
            if set(own) != set(values[name]):
                raise ValueError(f"{name}: {sorted(own)} here, {sorted(values[name])} there")
            for parameter, value in values[name].items():
                own[parameter].data.copy_(torch.from_numpy(np.array(value)))

    def real(self):
        """A random batch in [-1, 1]."""
        images = rows(self.images, self.batch).float() * (2 / 255) - 1
        return images.contiguous(memory_format=self.layout)

    def noise(self):
        """Latents."""
        return torch.randn(self.batch, LATENT, device=self.images.device)

    def discriminator_loss(self, x, z):
        """Binary cross-entropy, real and fake summed, in one pass."""
        with torch.no_grad():
            fake = self.nets["generator"](z)
        logits = self.nets["discriminator"](torch.cat([x, fake]))[:, 0]
        real_logits, fake_logits = logits.chunk(2)
        return softplus(-real_logits).mean() + softplus(fake_logits).mean()

    def generator_loss(self, z):
        """Non-saturating."""
        return softplus(-self.nets["discriminator"](self.nets["generator"](z))).mean()

    def step(self):
        """D on a fresh batch, then G on another."""
        update(self.adam["discriminator"], self.discriminator_loss(self.real(), self.noise()))
        update(self.adam["generator"], self.generator_loss(self.noise()))


def weights_of(params, features: int) -> dict[str, dict[str, np.ndarray]]:
    """The JAX model's weights under PyTorch's names; dense layers on images change from [H, W, C]
    to [C, H, W] order."""
    g, d, width = params["generator"], params["discriminator"], 2 * features
    dense_g = np.asarray(g["Dense_0"]["kernel"]).reshape(LATENT, 7, 7, width)
    dense_d = np.asarray(d["Dense_0"]["kernel"]).reshape(7, 7, width, 1)
    up = lambda kernel: np.asarray(kernel)[::-1, ::-1].transpose(2, 3, 0, 1)
    down = lambda kernel: np.asarray(kernel).transpose(3, 2, 0, 1)
    return {
        "generator": {
            "0.weight": dense_g.transpose(3, 1, 2, 0).reshape(-1, LATENT),
            "2.weight": g["BatchNorm_0"]["scale"],
            "2.bias": g["BatchNorm_0"]["bias"],
            "4.weight": up(g["ConvTranspose_0"]["kernel"]),
            "5.weight": g["BatchNorm_1"]["scale"],
            "5.bias": g["BatchNorm_1"]["bias"],
            "7.weight": up(g["ConvTranspose_1"]["kernel"]),
            "7.bias": g["ConvTranspose_1"]["bias"],
        },
        "discriminator": {
            "0.weight": down(d["Conv_0"]["kernel"]),
            "0.bias": d["Conv_0"]["bias"],
            "2.weight": down(d["Conv_1"]["kernel"]),
            "2.bias": d["Conv_1"]["bias"],
            "5.weight": dense_d.transpose(3, 2, 0, 1).reshape(1, -1),
            "5.bias": d["Dense_0"]["bias"],
        },
    }


def eager(
    shape: dict[str, int],
    steps: int,
    channels_last: bool,
    compiled: bool = False,
    autocast: bool = False,
) -> Case:
    """One seed."""
    losses = ("discriminator_loss", "generator_loss")
    model = TorchGan(**shape, channels_last=channels_last)
    return torch_training.eager(model, steps, losses=losses, compiled=compiled, autocast=autocast)
