"""Seed-steps per second of the ring GAN, beside PyTorch.

    python -m benchmarks.gan_ring [--rounds 9] [--steps 500] [--seeds 1 8 32] [--quick]

Both sides train the GAN of protocol `sandlund` (G 16-128-128-2, D 2-128-128-1, leaky ReLU .2,
non-saturating loss, Adam 2e-4 with b1 .5, batch 256) on fresh samples of the ring. One step is an
update of D on 256 real and 256 fake points and an update of G on 256 fresh ones, draws included.
JAX runs the library's own engine, with its guard against divergence: all steps of all seeds in one
compiled program. PyTorch runs eagerly, one seed after the other, so its rate does not depend on the
number of seeds. Before anything is timed, both sides must give the same losses from the same
weights and batches.
"""

import functools
import sys

import jax
import numpy as np
import optax

from benchmarks import harness, torch_dense
from dgm_jax import core, data, parallel, training
from dgm_jax.core import Task
from dgm_jax.models import METHODS, PROTOCOLS, toy_gan

PROTOCOL = PROTOCOLS["sandlund"]
TOLERANCE = 1e-5  # of a loss, relative
PLAYERS = ("discriminator", "generator")


def optimizers():
    """Adam of the protocol for each player."""
    return {name: optax.adam(PROTOCOL.learning_rate, PROTOCOL.b1, PROTOCOL.b2) for name in PLAYERS}


def task(dataset) -> Task:
    """The GAN on fresh samples, as a study would build it, without its evaluation."""
    model = toy_gan(PROTOCOL, METHODS["vanilla"])
    draw_data = data.draws(dataset, PROTOCOL.batch_size)

    def draw(arrays, data_key, index):
        key_x, key_z = jax.random.split(data_key)
        z = core.normal(
            jax.random.fold_in(key_z, index), (PROTOCOL.batch_size, PROTOCOL.latent_size)
        )
        return {"x": draw_data(arrays, key_x, index)["x"], "z": z}

    algorithm = functools.partial(training.alternating, model.players, optimizers())
    return Task(model.init, draw, algorithm, lambda train_state, arrays, key: {})


def jax_case(dataset, num_seeds: int, strategy: str, num_steps: int) -> harness.Case:
    """`num_steps` steps of `num_seeds` seeds in one compiled call."""
    return harness.engine_case(lambda hyper: task(dataset), {}, num_seeds, strategy, num_steps)


class TorchGan:
    """The same model, losses, optimizer and data in PyTorch."""

    def __init__(self, torch, device, fused: bool):
        self.torch, self.device = torch, device
        widths = {
            "generator": (PROTOCOL.latent_size, 128, 128, 2),
            "discriminator": (2, 128, 128, 1),
        }
        leaky = lambda: torch.nn.LeakyReLU(0.2)
        self.nets = {
            name: torch_dense.mlp(torch, w, leaky).to(device) for name, w in widths.items()
        }
        options = {
            "lr": PROTOCOL.learning_rate,
            "betas": (PROTOCOL.b1, PROTOCOL.b2),
            "fused": fused,
        }
        self.adam = {
            name: torch.optim.Adam(net.parameters(), **options) for name, net in self.nets.items()
        }
        angles = torch.arange(8, device=device) * (2 * torch.pi / 8)
        self.centres = 2.0 * torch.stack([angles.cos(), angles.sin()], 1)

    def load(self, params):
        """Takes over the weights of the JAX model."""
        for name, net in self.nets.items():
            torch_dense.load(self.torch, net, params[name])

    def real(self, n):
        """Fresh samples of the ring."""
        which = self.torch.randint(8, (n,), device=self.device)
        return self.centres[which] + 0.1 * self.torch.randn(n, 2, device=self.device)

    def noise(self, n):
        """Latents."""
        return self.torch.randn(n, PROTOCOL.latent_size, device=self.device)

    def discriminator_loss(self, x, z):
        """Binary cross-entropy, real and fake summed, in one pass."""
        softplus = self.torch.nn.functional.softplus
        with self.torch.no_grad():
            fake = self.nets["generator"](z)
        real_logits, fake_logits = self.nets["discriminator"](self.torch.cat([x, fake])).chunk(2)
        return softplus(-real_logits).mean() + softplus(fake_logits).mean()

    def generator_loss(self, z):
        """Non-saturating."""
        return self.torch.nn.functional.softplus(
            -self.nets["discriminator"](self.nets["generator"](z))
        ).mean()

    def update(self, name, loss):
        """One Adam step of one player."""
        self.adam[name].zero_grad()
        loss.backward()
        self.adam[name].step()

    def step(self):
        """D on a fresh batch, then G on another."""
        n = PROTOCOL.batch_size
        self.update("discriminator", self.discriminator_loss(self.real(n), self.noise(n)))
        self.update("generator", self.generator_loss(self.noise(n)))


def torch_case(torch, fused: bool, threads: int, num_steps: int) -> harness.Case:
    """One seed, eagerly, with so many threads."""
    inner = harness.eager_case(
        torch, TorchGan(torch, harness.torch_device(torch), fused).step, num_steps
    )

    def call():
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        inner.call()
        torch.set_num_threads(before)

    return inner._replace(call=call)


def check_losses(torch, dataset) -> dict:
    """Raises unless both sides give the same losses, from the same weights, before and after an
    update of each player.

    Returns the relative differences: D before any update, G after D's, D again, G again. Adam's
    first step is nearly a sign, so an entry of the gradient that is zero up to rounding may differ
    by a whole step: from the second number on the tolerance is ten times wider.
    """
    model = toy_gan(PROTOCOL, METHODS["vanilla"])
    algorithm = training.alternating(model.players, optimizers())
    params, state = model.init(jax.random.key(0))
    # at N(0, .02^2) every logit is 0 and any mistake would pass
    params = jax.tree.map(lambda w: 8 * w, params)
    now = algorithm.init(jax.random.key(1), params, state)
    batch = task(dataset).draw({}, jax.random.key(2), 0)
    x, z = (torch.from_numpy(np.array(batch[name])) for name in ("x", "z"))
    peer = TorchGan(torch, "cpu", fused=False)
    peer.load(now.params)
    step = jax.jit(lambda now: algorithm.step(now, lambda index: batch))
    differences = []
    for _ in range(2):
        now, info = step(now)
        for name, loss in (
            ("discriminator", lambda: peer.discriminator_loss(x, z)),
            ("generator", lambda: peer.generator_loss(z)),
        ):
            theirs, ours = loss(), float(info.losses[name])
            peer.update(name, theirs)
            differences.append(abs(ours / theirs.item() - 1))
    if differences[0] > TOLERANCE or max(differences) > 10 * TOLERANCE:
        raise SystemExit(
            f"the two sides do not compute the same: relative differences of losses {differences}"
        )
    return {"relative_difference_of_losses": differences}


def main() -> int:
    """Checks, measures, writes."""
    arguments = harness.parse(harness.parser(__doc__.splitlines()[0], steps=500, seeds=[1, 8, 32]))
    torch = harness.torch_or_none()
    dataset = data.load("ring", num_modes=8, radius=2.0, scale=0.1)
    checks = check_losses(torch, dataset) if torch else {}
    cases = {}
    for num_seeds in arguments.seeds:
        for strategy in parallel.STRATEGIES:
            name = f"jax, {num_seeds} seeds, {strategy}"
            print(f"compiling {name}")
            cases[name] = jax_case(dataset, num_seeds, strategy, arguments.steps)
    if torch:
        threads = torch.get_num_threads()
        for fused in (False, True):
            for count in sorted({1, threads}):
                name = f"torch eager, {'fused' if fused else 'plain'} Adam, {count} threads"
                cases[name] = torch_case(torch, fused, count, arguments.steps)
    harness.report("gan_ring", cases, checks, arguments, "seed-steps/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
