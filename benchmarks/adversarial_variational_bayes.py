"""Seed-steps per second of adversarial variational Bayes on binary images, beside PyTorch.

    python -m benchmarks.adversarial_variational_bayes [--rounds 7] [--steps 40] [--seeds 1 4]
        [--quick]

The model of `experiments.avb_images`: encoder (784 pixels, 32 numbers of noise)-300-300-8, decoder
8-300-300-784, residual critic of width 256 with three blocks, Adam with b1 .5, batch 100. One step
is an update of encoder and decoder through the critic and an update of the critic on posterior and
prior draws of a fresh batch. Otherwise as `benchmarks.vae`. Before anything is timed, both sides
must give the same losses from the same weights, batch and noise.
"""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import harness, torch_dense
from benchmarks.vae import BATCH, IMAGE, NUM_IMAGES, binary_images
from dgm_jax import core, priors, training
from dgm_jax.core import Task
from dgm_jax.models import AdversarialVae, AvbDraw, adversarial_variational_bayes, avb_critic_logits
from dgm_jax.models.latent import log_likelihood
from dgm_jax.networks import MLP, NoiseEncoder, ResidualCritic, from_flax, reshaped
from dgm_jax.objectives.adversarial_variational_bayes import critic_loss

LATENT, NOISE, WIDTH, BLOCKS, PIXELS = 8, 32, 256, 3, 784
RATES, B1 = {"vae": 5e-4, "critic": 1e-3}, 0.5
TOLERANCE = 1e-5  # of a loss, relative


def recipe() -> AdversarialVae:
    """Networks and prior."""
    decoder = reshaped(from_flax(MLP((300, 300, PIXELS), "relu", "glorot")), IMAGE)
    encoder, critic = NoiseEncoder((300, 300, LATENT)), ResidualCritic(WIDTH, BLOCKS)
    return AdversarialVae(
        from_flax(encoder),
        decoder,
        from_flax(critic),
        priors.standard_normal(LATENT),
        LATENT,
        NOISE,
    )


def task(hyper) -> Task:
    """AVB on random batches of the images in `arrays`, without evaluation."""
    del hyper
    made = adversarial_variational_bayes(recipe(), IMAGE, num_critic_updates=1)

    def draw(arrays, data_key, index):
        which = jax.random.randint(jax.random.fold_in(data_key, index), (BATCH,), 0, NUM_IMAGES)
        return {"x": arrays["image"][which].astype(jnp.float32), "step": index}

    optimizers = {name: optax.adam(rate, b1=B1) for name, rate in RATES.items()}
    return Task(
        made.init,
        draw,
        functools.partial(training.alternating, made.players, optimizers),
        lambda *_: {},
    )


class TorchAvb:
    """The same model, data and optimizers in PyTorch."""

    def __init__(self, torch, device, images):
        nn = torch.nn
        self.torch, self.device = torch, device
        self.encoder = torch_dense.mlp(torch, (PIXELS + NOISE, 300, 300, LATENT), torch.nn.ELU).to(
            device
        )
        self.decoder = torch_dense.mlp(torch, (LATENT, 300, 300, PIXELS), torch.nn.ReLU).to(device)
        layers = {"input": nn.Linear(PIXELS + LATENT, WIDTH), "output": nn.Linear(WIDTH, 1)}
        for block in range(BLOCKS):
            layers |= {
                f"inner_{block}": nn.Linear(WIDTH, WIDTH),
                f"outer_{block}": nn.Linear(WIDTH, WIDTH),
            }
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
        self.images = torch.from_numpy(images.reshape(-1, PIXELS).copy()).to(device)

    def load(self, params):
        """Takes over the weights of the JAX model."""
        torch_dense.load(self.torch, self.encoder, params["encoder"]["MLP_0"])
        torch_dense.load(self.torch, self.decoder, params["decoder"])
        for name, layer in self.critic.items():
            torch_dense.load_layer(self.torch, layer, params["critic"][name])

    def draw(self):
        """A random batch."""
        return self.images[self.torch.randint(NUM_IMAGES, (BATCH,), device=self.device)].float()

    def normal(self, size):
        """Standard normal numbers for a batch."""
        return self.torch.randn(BATCH, size, device=self.device)

    def logits(self, x, z):
        """T(x, z): the critic's network minus log p(z)."""
        functional = self.torch.nn.functional
        h = functional.elu(self.critic["input"](self.torch.cat([x, z], 1)))
        for block in range(BLOCKS):
            h = functional.elu(
                h + self.critic[f"outer_{block}"](self.critic[f"inner_{block}"](h).relu())
            )
        return self.critic["output"](h)[:, 0] + 0.5 * (z * z + np.log(2 * np.pi)).sum(1)

    def vae_loss(self, x, noise):
        """-E_q [log p(x | z) - T(x, z)]."""
        z = self.encoder(self.torch.cat([x, noise], 1))
        losses = self.torch.nn.functional.binary_cross_entropy_with_logits(
            self.decoder(z), x, reduction="none"
        )
        return (losses.sum(1) + self.logits(x, z)).mean()

    def critic_loss(self, x, noise, other):
        """Logistic, posterior draws against prior draws."""
        softplus = self.torch.nn.functional.softplus
        with self.torch.no_grad():
            z = self.encoder(self.torch.cat([x, noise], 1))
        return softplus(-self.logits(x, z)).mean() + softplus(self.logits(x, other)).mean()

    def update(self, name, loss):
        """One Adam step of one player; the other's gradients are neither used nor computed."""
        self.adam[name].zero_grad()
        loss.backward()
        self.adam[name].step()

    def step(self):
        """Encoder and decoder, then the critic on a fresh batch."""
        self.critic.requires_grad_(False)
        self.update("vae", self.vae_loss(self.draw(), self.normal(NOISE)))
        self.critic.requires_grad_(True)
        self.update(
            "critic", self.critic_loss(self.draw(), self.normal(NOISE), self.normal(LATENT))
        )


def check_losses(torch, images) -> dict:
    """Raises unless both sides give the same losses from the same weights, batch and noise."""
    parts = recipe()
    params, state = adversarial_variational_bayes(parts, IMAGE).init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), BLOCKS + 2)
    # they are zero at the start, where any mistake in a block would pass
    for block in range(BLOCKS):
        params["critic"][f"outer_{block}"]["kernel"] = 0.1 * core.normal(
            keys[block], (WIDTH, WIDTH)
        )
    x, noise = jnp.asarray(images[:BATCH], jnp.float32), core.normal(keys[-2], (BATCH, NOISE))
    other = core.normal(keys[-1], (BATCH, LATENT))

    @jax.jit
    def losses():
        z = parts.encoder.apply(
            params["encoder"], state["encoder"], (x.reshape(BATCH, -1), noise), train=False
        )[0]
        logits = [
            avb_critic_logits(parts, params, state, x, AvbDraw(each, None)) for each in (z, other)
        ]
        return jnp.mean(logits[0] - log_likelihood(parts, params, state, z, x)), critic_loss(
            *logits
        )

    peer = TorchAvb(torch, "cpu", images)
    peer.load(params)
    flat, numbers, priors_z = (
        torch.from_numpy(np.array(a).reshape(BATCH, -1)) for a in (x, noise, other)
    )
    theirs = peer.vae_loss(flat, numbers).item(), peer.critic_loss(flat, numbers, priors_z).item()
    ours = [float(v) for v in losses()]
    differences = [abs(a / b - 1) for a, b in zip(ours, theirs, strict=True)]
    if max(differences) > TOLERANCE:
        raise SystemExit(f"the two sides do not compute the same: losses {ours} and {theirs}")
    return {"losses": ours, "relative_difference_of_losses": differences}


def main() -> int:
    """Checks, measures, writes."""
    arguments = harness.parse(
        harness.parser(__doc__.splitlines()[0], rounds=7, steps=40, seeds=[1, 4])
    )
    images, torch = binary_images(), harness.torch_or_none()
    checks = check_losses(torch, images) if torch else {}
    cases = harness.engine_cases(task, {"image": images}, arguments)
    if torch:
        model = TorchAvb(torch, harness.torch_device(torch), images)
        cases["torch eager"] = harness.eager_case(torch, model.step, arguments.steps)
    harness.report("adversarial_variational_bayes", cases, checks, arguments, "seed-steps/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
