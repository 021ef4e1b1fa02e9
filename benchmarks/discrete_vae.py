"""Seed-steps per second of DALL-E's discrete VAE on 28x28 images, beside PyTorch.

    python -m benchmarks.discrete_vae [--rounds 7] [--steps 5] [--seeds 1 4] [--quick]

Encoder and decoder of `networks.residual` (hidden 128), a 7 x 7 grid of K = 128 codes,
Gumbel-softmax at temperature .5, logit-Laplace likelihood, KL to the uniform prior with beta 1,
Adam 3e-4, batch 128. JAX runs the library's model on the library's engine: all steps of all seeds
in one compiled program. PyTorch runs eagerly, one seed after the other, channels first and channels
last, fused Adam. The images are noise. Before anything is timed, both sides must give the same
losses from the same weights, batch and noise.
"""

import functools
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import harness, torch_autoencoder
from dgm_jax import sampling, training
from dgm_jax.core import Task
from dgm_jax.models import GumbelVae, discrete_vae
from dgm_jax.networks import ResidualDecoder, ResidualEncoder, from_flax

IMAGE, BATCH, NUM_IMAGES, CODES, TEMPERATURE = (28, 28, 1), 128, 4_096, 128, 0.5
RATE, TOLERANCE = 3e-4, 2e-5
VAE = GumbelVae(
    from_flax(ResidualEncoder(CODES)), from_flax(ResidualDecoder(2)), (7, 7), CODES, "logit_laplace"
)
MODEL = discrete_vae(VAE, IMAGE, temperature=lambda step: TEMPERATURE, beta=lambda step: 1.0)


def task(hyper) -> Task:
    """The discrete VAE on random batches, without evaluation."""
    del hyper

    def draw(arrays, data_key, index):
        which = jax.random.randint(jax.random.fold_in(data_key, index), (BATCH,), 0, NUM_IMAGES)
        return {"x": arrays["image"][which].astype(jnp.float32) * (1 / 255), "step": index}

    optimizers = dict.fromkeys(MODEL.players, optax.adam(RATE))
    algorithm = functools.partial(training.alternating, MODEL.players, optimizers)
    return Task(MODEL.init, draw, algorithm, lambda train_state, arrays, key: {})


class TorchDiscreteVae:
    """The same model, loss and optimizer in PyTorch."""

    def __init__(self, torch, device, images, channels_last: bool):
        self.torch = torch
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        nets = torch_autoencoder.make(torch, CODES, 2)
        self.nets = {name: net.to(device, memory_format=self.layout) for name, net in nets.items()}
        self.adam = torch.optim.Adam(
            [w for net in self.nets.values() for w in net.parameters()], RATE, fused=True
        )
        self.images = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(device)

    def batch(self):
        """Random images in [0, 1]."""
        which = self.torch.randint(NUM_IMAGES, (BATCH,), device=self.images.device)
        return (self.images[which].float() / 255).contiguous(memory_format=self.layout)

    def loss(self, x, noise=None):
        """Negative bound with relaxed codes, nats an image; noise [B, K, 7, 7] is Gumbel's."""
        torch = self.torch
        logits = self.nets["encoder"](x)
        if noise is None:
            noise = -torch.empty_like(logits).exponential_().log()
        z = torch.softmax((logits + noise) / TEMPERATURE, dim=1)
        loc, log_scale = self.nets["decoder"](z).chunk(2, dim=1)
        v = 0.8 * x + 0.1
        log_p = -(torch.logit(v) - loc).abs() * torch.exp(-log_scale) - log_scale - math.log(2.0)
        log_p = log_p - v.log() - torch.log1p(-v) + math.log(0.8)
        log_q = torch.log_softmax(logits, dim=1)
        kl = (log_q.exp() * log_q).sum(dim=(1, 2, 3)) + 49 * math.log(CODES)
        return (kl - log_p.sum(dim=(1, 2, 3))).mean()

    def step(self):
        """One Adam step on a random batch."""
        self.adam.zero_grad()
        self.loss(self.batch()).backward()
        self.adam.step()


def check_losses(torch, images) -> dict:
    """Raises unless both sides give the same loss, from the same weights and noise, before and
    after a step of SGD."""
    params, state = MODEL.init(jax.random.key(0))
    key, x = jax.random.key(1), images[:BATCH].astype(np.float32) / 255
    noise = np.asarray(sampling.perturbed_logits(key, jnp.zeros((BATCH, 7, 7, CODES))))
    batch = {"x": x, "step": 0}
    loss = lambda p: next(iter(MODEL.players.values())).loss(p, state, batch, key)[0]
    value, slopes = jax.jit(jax.value_and_grad(loss))(params)
    moved = jax.tree.map(lambda w, g: w - 1e-5 * g, params, slopes)
    peer = TorchDiscreteVae(torch, "cpu", images, channels_last=False)
    torch_autoencoder.load(torch, peer.nets, params)
    given = (
        torch.from_numpy(x.transpose(0, 3, 1, 2).copy()),
        torch.from_numpy(noise.transpose(0, 3, 1, 2).copy()),
    )
    before = peer.loss(*given)
    before.backward()
    with torch.no_grad():
        for weight in [w for net in peer.nets.values() for w in net.parameters()]:
            weight -= 1e-5 * weight.grad
    pairs = ((value, before), (jax.jit(loss)(moved), peer.loss(*given)))
    differences = [abs(float(ours) / theirs.item() - 1) for ours, theirs in pairs]
    if max(differences) > TOLERANCE or float(pairs[1][0]) >= float(value):
        raise SystemExit(
            f"the two sides do not compute the same: relative differences of losses {differences}"
        )
    return {"relative_difference_of_losses": differences}


def main() -> int:
    """Checks, measures, writes."""
    arguments = harness.parse(
        harness.parser(__doc__.splitlines()[0], rounds=7, steps=5, seeds=[1, 4])
    )
    images, torch = harness.noise_images(NUM_IMAGES), harness.torch_or_none()
    checks = check_losses(torch, images) if torch else {}
    cases = harness.image_cases(task, images, arguments, TorchDiscreteVae)
    harness.report("discrete_vae", cases, checks, arguments, "seed-steps/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
