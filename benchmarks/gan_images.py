"""Seed-steps per second of a DCGAN on 28x28 images, beside PyTorch.

    python -m benchmarks.gan_images [--rounds 7] [--steps 5] [--seeds 1 3] [--quick]

The model of `experiments.gan_images`: G 100 -> 7x7x128 -> 14x14x64 -> 28x28x1 with batch norm and
ReLU, D with 64 and 128 channels and leaky ReLU .2, non-saturating loss, Adam 2e-4 with b1 .5, batch
128. One step is an update of D on 128 real and 128 fake images and an update of G on 128 fresh
ones, draws and the conversion from uint8 included. JAX runs the library's own engine: all steps of
all seeds in one compiled program, with convolutions by the backend that the library picks for the
device. PyTorch runs eagerly, one seed after the other, channels first and channels last. The images
are noise: no number here depends on what they show. Before anything is timed, both sides must give
the same losses from the same weights and batches.
"""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import harness
from dgm_jax import core, training
from dgm_jax.core import Task
from dgm_jax.models import gan
from dgm_jax.networks import Discriminator, Generator, from_flax
from dgm_jax.objectives.gan import LOSSES

IMAGE, LATENT, BATCH, NUM_IMAGES = (28, 28, 1), 100, 128, 10_000
RATE, B1, B2 = 2e-4, 0.5, 0.999
TOLERANCE = 1e-5  # of a loss, relative
PLAYERS = ("discriminator", "generator")


def model():
    """The DCGAN of this library."""
    generator, discriminator = from_flax(Generator(IMAGE)), from_flax(Discriminator())
    return gan(
        generator, discriminator, LOSSES["non_saturating"], latent_size=LATENT, example_shape=IMAGE
    )


def optimizers():
    """Adam for each player."""
    return {name: optax.adam(RATE, B1, B2) for name in PLAYERS}


def to_model_range(images):
    """uint8 to [-1, 1]."""
    return images.astype(jnp.float32) * (2 / 255) - 1


def task(hyper) -> Task:
    """The GAN on random batches of the images in `arrays`, without evaluation."""
    del hyper
    made = model()

    def draw(arrays, data_key, index):
        key_x, key_z = jax.random.split(jax.random.fold_in(data_key, index))
        which = jax.random.randint(key_x, (BATCH,), 0, NUM_IMAGES)
        return {
            "x": to_model_range(arrays["image"][which]),
            "z": core.normal(key_z, (BATCH, LATENT)),
        }

    algorithm = functools.partial(training.alternating, made.players, optimizers())
    return Task(made.init, draw, algorithm, lambda train_state, arrays, key: {})


class TorchGan:
    """The same model, losses, optimizer and data in PyTorch."""

    def __init__(self, torch, device, images, channels_last: bool, fused: bool = True):
        nn = torch.nn
        self.torch, self.device = torch, device
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        generator = nn.Sequential(
            nn.Linear(LATENT, 7 * 7 * 128, bias=False),
            nn.Unflatten(1, (128, 7, 7)),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 1, 4, 2, 1),
            nn.Tanh(),
        )
        discriminator = nn.Sequential(
            nn.Conv2d(1, 64, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(64, 128, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(128 * 7 * 7, 1),
        )
        self.nets = {"generator": generator, "discriminator": discriminator}
        for net in self.nets.values():
            net.to(device=device, memory_format=self.layout)
            for layer in net:
                if hasattr(layer, "weight") and not isinstance(layer, nn.BatchNorm2d):
                    nn.init.normal_(layer.weight, std=0.02)
        self.adam = {
            name: torch.optim.Adam(net.parameters(), RATE, (B1, B2), fused=fused)
            for name, net in self.nets.items()
        }
        self.images = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(device)

    def load(self, params):
        """Takes over the weights of the JAX model; dense layers on images change from [H, W, C] to
        [C, H, W] order."""
        g, d = params["generator"], params["discriminator"]
        dense_g = (
            np.asarray(g["Dense_0"]["kernel"])
            .reshape(LATENT, 7, 7, 128)
            .transpose(3, 1, 2, 0)
            .reshape(-1, LATENT)
        )
        dense_d = (
            np.asarray(d["Dense_0"]["kernel"])
            .reshape(7, 7, 128, 1)
            .transpose(3, 2, 0, 1)
            .reshape(1, -1)
        )
        up = lambda kernel: np.asarray(kernel)[::-1, ::-1].transpose(2, 3, 0, 1)
        down = lambda kernel: np.asarray(kernel).transpose(3, 2, 0, 1)
        values = {
            "generator": {
                "0.weight": dense_g,
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
                "5.weight": dense_d,
                "5.bias": d["Dense_0"]["bias"],
            },
        }
        for name, net in self.nets.items():
            own = dict(net.named_parameters())
            if set(own) != set(values[name]):
                raise SystemExit(
                    f"{name}: parameters {sorted(own)} here, {sorted(values[name])} there"
                )
            for parameter, value in values[name].items():
                own[parameter].data.copy_(self.torch.from_numpy(np.array(value)))

    def real(self):
        """A random batch in [-1, 1]."""
        which = self.torch.randint(NUM_IMAGES, (BATCH,), device=self.device)
        return (self.images[which].float() * (2 / 255) - 1).contiguous(memory_format=self.layout)

    def noise(self):
        """Latents."""
        return self.torch.randn(BATCH, LATENT, device=self.device)

    def discriminator_loss(self, x, z):
        """Binary cross-entropy, real and fake summed, in one pass."""
        softplus = self.torch.nn.functional.softplus
        with self.torch.no_grad():
            fake = self.nets["generator"](z)
        real_logits, fake_logits = self.nets["discriminator"](self.torch.cat([x, fake]))[
            :, 0
        ].chunk(2)
        return softplus(-real_logits).mean() + softplus(fake_logits).mean()

    def generator_loss(self, z):
        """Non-saturating."""
        logits = self.nets["discriminator"](self.nets["generator"](z))
        return self.torch.nn.functional.softplus(-logits).mean()

    def update(self, name, loss):
        """One Adam step of one player."""
        self.adam[name].zero_grad()
        loss.backward()
        self.adam[name].step()

    def step(self):
        """D on a fresh batch, then G on another."""
        self.update("discriminator", self.discriminator_loss(self.real(), self.noise()))
        self.update("generator", self.generator_loss(self.noise()))


def check_losses(torch, images) -> dict:
    """Raises unless both sides give the same losses from the same weights and batch, in both
    layouts of PyTorch."""
    made = model()
    params, state = made.init(jax.random.key(0))
    # At N(0, .02^2) every logit is nearly 0 and any mistake would pass.
    params = jax.tree.map(lambda w: 3 * w if w.ndim > 1 else w, params)
    batch = {
        "x": to_model_range(jnp.asarray(images[:BATCH])),
        "z": core.normal(jax.random.key(1), (BATCH, LATENT)),
    }
    ours = {
        name: float(jax.jit(made.players[name].loss)(params, state, batch, jax.random.key(2))[0])
        for name in PLAYERS
    }
    x, z = (
        torch.from_numpy(np.array(batch["x"]).transpose(0, 3, 1, 2).copy()),
        torch.from_numpy(np.array(batch["z"])),
    )
    differences = {}
    for channels_last in (False, True):
        peer = TorchGan(torch, "cpu", images, channels_last)
        peer.load(params)
        theirs = {
            "discriminator": peer.discriminator_loss(x, z),
            "generator": peer.generator_loss(z),
        }
        for name in PLAYERS:
            layout = "channels last" if channels_last else "channels first"
            differences[f"{name}, {layout}"] = abs(ours[name] / theirs[name].item() - 1)
    if max(differences.values()) > TOLERANCE:
        raise SystemExit(
            f"the two sides do not compute the same: relative differences of losses {differences}"
        )
    return {"losses": ours, "relative_difference_of_losses": differences}


def main() -> int:
    """Checks, measures, writes."""
    arguments = harness.parse(
        harness.parser(__doc__.splitlines()[0], rounds=7, steps=5, seeds=[1, 3])
    )
    images, torch = harness.noise_images(NUM_IMAGES), harness.torch_or_none()
    checks = check_losses(torch, images) if torch else {}
    cases = harness.image_cases(task, images, arguments, TorchGan)
    harness.report("gan_images", cases, checks, arguments, "seed-steps/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
