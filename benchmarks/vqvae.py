"""Seed-steps per second of a VQ-VAE on 28x28 images, beside PyTorch.

    python -m benchmarks.vqvae [--rounds 7] [--steps 5] [--seeds 1 4] [--quick]

Encoder and decoder of `networks.residual` (hidden 128, two residual blocks of 32), K = 512 codes of
D = 64, mean squared error plus codebook term plus .25 commitment, Adam 3e-4, batch 128: about 21
GFLOP a step. JAX runs the library's own
engine: all steps of all seeds in one compiled program, convolutions by the backend that the library
picks. PyTorch runs eagerly, one seed after the other, channels first and channels last, fused Adam.
The images are noise. Before anything is timed, both sides must give the same losses from the same
weights and batch.
"""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import harness, torch_autoencoder
from dgm_jax import core, quantization, training
from dgm_jax.core import Aux, Player, Task
from dgm_jax.networks import ResidualDecoder, ResidualEncoder, from_flax

IMAGE, BATCH, NUM_IMAGES, CODES, CODE_WIDTH = (28, 28, 1), 128, 4_096, 512, 64
RATE, TOLERANCE = 3e-4, 2e-5
NETS = {
    "encoder": from_flax(ResidualEncoder(CODE_WIDTH)),
    "decoder": from_flax(ResidualDecoder(IMAGE[2])),
}


def init(key):
    """Parameters by part; the codebook U(-1/K, 1/K) as published code has it, times 50 so that
    codes differ."""
    keys = jax.random.split(key, 3)
    book = core.uniform(keys[2], (CODES, CODE_WIDTH), minval=-50 / CODES, maxval=50 / CODES)
    encoder, _ = NETS["encoder"].init(keys[0], jnp.zeros((2, *IMAGE)))
    decoder, _ = NETS["decoder"].init(keys[1], jnp.zeros((2, 7, 7, CODE_WIDTH)))
    return {"encoder": encoder, "decoder": decoder, "codebook": book}, {}


def loss(params, state, batch, key):
    """Squared error, codebook and commitment terms, each a mean over all its numbers."""
    del key
    z, _ = NETS["encoder"].apply(params["encoder"], {}, batch["x"])
    found = quantization.vector_quantize(z, params["codebook"])
    shown, _ = NETS["decoder"].apply(params["decoder"], {}, found.quantized)
    terms = (jnp.mean(found.codebook_loss) + 0.25 * jnp.mean(found.commitment_loss)) / CODE_WIDTH
    return jnp.mean(jnp.square(shown - batch["x"])) + terms, Aux(state, {})


PLAYERS = {"vqvae": Player(("encoder", "decoder", "codebook"), loss)}


def task(hyper) -> Task:
    """The VQ-VAE on random batches, without evaluation."""
    del hyper

    def draw(arrays, data_key, index):
        which = jax.random.randint(jax.random.fold_in(data_key, index), (BATCH,), 0, NUM_IMAGES)
        return {"x": arrays["image"][which].astype(jnp.float32) * (1 / 255) - 0.5}

    algorithm = functools.partial(training.alternating, PLAYERS, {"vqvae": optax.adam(RATE)})
    return Task(init, draw, algorithm, lambda train_state, arrays, key: {})


class TorchVqVae:
    """The same model, losses and optimizer in PyTorch."""

    def __init__(self, torch, device, images, channels_last: bool):
        self.torch = torch
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        nets = torch_autoencoder.make(torch, CODE_WIDTH, 1)
        self.nets = {name: net.to(device, memory_format=self.layout) for name, net in nets.items()}
        self.book = torch.nn.Parameter(torch.rand(CODES, CODE_WIDTH, device=device) / 10)
        weights = [w for net in self.nets.values() for w in net.parameters()] + [self.book]
        self.adam = torch.optim.Adam(weights, RATE, fused=True)
        self.images = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(device)

    def load(self, params):
        """Takes over the weights of the JAX model."""
        self.book.data.copy_(self.torch.tensor(np.asarray(params["codebook"])))
        torch_autoencoder.load(self.torch, self.nets, params)

    def batch(self):
        """Random images in [-.5, .5]."""
        which = self.torch.randint(NUM_IMAGES, (BATCH,), device=self.images.device)
        return (self.images[which].float() / 255 - 0.5).contiguous(memory_format=self.layout)

    def loss(self, x):
        """As `loss` above."""
        square = self.torch.nn.functional.mse_loss
        z = self.nets["encoder"](x).permute(0, 2, 3, 1)
        flat = z.reshape(-1, CODE_WIDTH)
        with self.torch.no_grad():
            codes = self.torch.cdist(flat, self.book).argmin(1)
        chosen = self.book[codes].reshape(z.shape)
        terms = square(chosen, z.detach()) + 0.25 * square(z, chosen.detach())
        quantized = (z + (chosen - z).detach()).permute(0, 3, 1, 2)
        return square(self.nets["decoder"](quantized), x) + terms

    def step(self):
        """One Adam step on a random batch."""
        self.adam.zero_grad()
        self.loss(self.batch()).backward()
        self.adam.step()


def check_losses(torch, images) -> dict:
    """Raises unless both sides give the same loss, from the same weights, before and after one step
    of SGD on it."""
    params, state = init(jax.random.key(0))
    peer = TorchVqVae(torch, "cpu", images, channels_last=False)
    peer.load(params)
    x = images[:BATCH].astype(np.float32) / 255 - 0.5
    value = jax.jit(lambda p: loss(p, state, {"x": x}, None)[0])
    slope = jax.jit(jax.grad(lambda p: loss(p, state, {"x": x}, None)[0]))
    moved = jax.tree.map(lambda w, g: w - 0.1 * g, params, slope(params))
    images = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    before = peer.loss(images)
    before.backward()
    with torch.no_grad():
        for weight in [w for net in peer.nets.values() for w in net.parameters()] + [peer.book]:
            weight -= 0.1 * weight.grad
    pairs = ((value(params), before), (value(moved), peer.loss(images)))
    differences = [abs(float(ours) / theirs.item() - 1) for ours, theirs in pairs]
    if max(differences) > TOLERANCE:
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
    cases = harness.image_cases(task, images, arguments, TorchVqVae)
    harness.report("vqvae", cases, checks, arguments, "seed-steps/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
