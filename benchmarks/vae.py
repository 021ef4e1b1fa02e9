"""Seed-steps per second of a VAE on binary images, beside PyTorch and pythae.

    python -m benchmarks.vae [--rounds 9] [--steps 100] [--seeds 1 4] [--quick]

The model of `experiments.vae_priors` under N(0, I): 784-300-300-40 and back, ReLU, Bernoulli
pixels, Adam 1e-3, batch 100 drawn from binary images in uint8. JAX runs the library's own engine:
all steps of all seeds in one compiled program. PyTorch runs eagerly, one seed after the other, as a
person would write it; "pythae" is that library's `VAE` with these networks inside, which takes the
cross-entropy of probabilities and the KL in closed form. The images are
noise: no number here depends on what they show. Before anything is timed, all three must give the
same reconstruction term and KL from the same weights, batch and noise.
"""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import harness, torch_dense
from dgm_jax import core, priors, training
from dgm_jax.core import Task
from dgm_jax.densities import gaussian
from dgm_jax.models import Vae, vae
from dgm_jax.models._vae import DECODER, ENCODER
from dgm_jax.models.latent import log_likelihood, posterior
from dgm_jax.networks import MLP, from_flax, reshaped

IMAGE, LATENT, BATCH, NUM_IMAGES, RATE = (28, 28, 1), 40, 100, 10_000, 1e-3
ENCODER_WIDTHS, DECODER_WIDTHS = (784, 300, 300, 2 * LATENT), (LATENT, 300, 300, 784)
TOLERANCE = 1e-5  # of a term of the bound, relative


def recipe() -> Vae:
    """Networks and prior."""
    encoder = reshaped(from_flax(MLP(ENCODER_WIDTHS[1:], "relu", "glorot")), (2 * LATENT,))
    decoder = reshaped(from_flax(MLP(DECODER_WIDTHS[1:], "relu", "glorot")), IMAGE)
    prior = priors.standard_normal(LATENT)
    return Vae(encoder, decoder, LATENT, lambda encode: prior)


def task(hyper) -> Task:
    """The VAE on random batches of the images in `arrays`, without evaluation."""
    del hyper
    made = vae(recipe(), IMAGE)

    def draw(arrays, data_key, index):
        which = jax.random.randint(jax.random.fold_in(data_key, index), (BATCH,), 0, NUM_IMAGES)
        return {"x": arrays["image"][which].astype(jnp.float32), "step": index}

    algorithm = functools.partial(training.alternating, made.players, {"vae": optax.adam(RATE)})
    return Task(made.init, draw, algorithm, lambda train_state, arrays, key: {})


class TorchVae:
    """The same model, data and optimizer in PyTorch."""

    def __init__(self, torch, device, images):
        self.torch, self.device = torch, device
        self.encoder = torch_dense.mlp(torch, ENCODER_WIDTHS, torch.nn.ReLU).to(device)
        self.decoder = torch_dense.mlp(torch, DECODER_WIDTHS, torch.nn.ReLU).to(device)
        self.adam = self.optimizer([*self.encoder.parameters(), *self.decoder.parameters()])
        self.images = torch.from_numpy(images.reshape(-1, 784).copy()).to(device)

    def optimizer(self, parameters):
        """Adam in its fastest form."""
        return self.torch.optim.Adam(parameters, RATE, fused=True)

    def load(self, params):
        """Takes over the weights of the JAX model."""
        torch_dense.load(self.torch, self.encoder, params[ENCODER])
        torch_dense.load(self.torch, self.decoder, params[DECODER])

    def draw(self):
        """A random batch."""
        return self.images[self.torch.randint(NUM_IMAGES, (BATCH,), device=self.device)].float()

    def noise(self):
        """For one draw of the posterior of a batch."""
        return self.torch.randn(BATCH, LATENT, device=self.device)

    def terms(self, x, noise):
        """(reconstruction [B], KL [B])."""
        loc, log_scale = self.encoder(x).chunk(2, dim=1)
        logits = self.decoder(loc + log_scale.exp() * noise)
        losses = self.torch.nn.functional.binary_cross_entropy_with_logits(
            logits, x, reduction="none"
        )
        kl = 0.5 * (loc**2 + (2 * log_scale).exp() - 1) - log_scale
        return losses.sum(1), kl.sum(1)

    def loss(self, x):
        """-ELBO."""
        reconstruction, kl = self.terms(x, self.noise())
        return (reconstruction + kl).mean()

    def step(self):
        """One update on a fresh batch."""
        self.adam.zero_grad()
        self.loss(self.draw()).backward()
        self.adam.step()


def pythae_or_none():
    """pythae's parts, or None where it is not installed."""
    try:
        from pythae.models import VAE, VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder
    except ImportError:
        return None
    return VAE, VAEConfig, ModelOutput, BaseEncoder, BaseDecoder


class PythaeVae(TorchVae):
    """The same networks inside pythae's `VAE`."""

    def __init__(self, torch, device, images):
        super().__init__(torch, device, images)
        vae_class, config, output, base_encoder, base_decoder = pythae_or_none()
        networks = self.encoder, self.decoder

        class Encoder(base_encoder):
            def forward(self, x):
                loc, log_scale = networks[0](x).chunk(2, dim=1)
                return output(embedding=loc, log_covariance=2 * log_scale)

        class Decoder(base_decoder):
            def forward(self, z):
                return output(reconstruction=networks[1](z).sigmoid())

        settings = config(input_dim=(784,), latent_dim=LATENT, reconstruction_loss="bce")
        self.model = vae_class(settings, Encoder(), Decoder())

    def terms(self, x, noise):
        """As pythae has them: means over the batch."""
        draw, self.model._sample_gauss = (
            self.model._sample_gauss,
            lambda loc, scale: (
                loc + scale * noise,
                noise,
            ),
        )
        found = self.model({"data": x})
        self.model._sample_gauss = draw
        return found.recon_loss, found.reg_loss

    def loss(self, x):
        """-ELBO."""
        return self.model({"data": x}).loss


def peers() -> dict:
    """{name: class} of what can be had."""
    return {"torch eager": TorchVae} | ({"torch pythae": PythaeVae} if pythae_or_none() else {})


def check_terms(torch, images) -> dict:
    """Raises unless all sides give the same terms of the bound from the same weights, batch and
    noise."""
    made, parts = vae(recipe(), IMAGE), recipe()
    params, state = made.init(jax.random.key(0))
    x, noise = (
        jnp.asarray(images[:BATCH], jnp.float32),
        core.normal(jax.random.key(1), (BATCH, LATENT)),
    )

    @jax.jit
    def terms():
        loc, scale = posterior(parts, params, state, x)
        kl = jnp.sum(gaussian.kl(loc, scale, 0.0, 1.0), axis=-1)
        return -jnp.mean(log_likelihood(parts, params, state, loc + scale * noise, x)), jnp.mean(kl)

    ours, differences = [float(v) for v in terms()], {}
    flat, numbers = (
        torch.from_numpy(np.array(x).reshape(BATCH, -1)),
        torch.from_numpy(np.array(noise)),
    )
    for name, peer_class in peers().items():
        peer = peer_class(torch, "cpu", images)
        peer.load(params)
        with torch.no_grad():
            theirs = [float(v.mean()) for v in peer.terms(flat, numbers)]
        differences[name] = [abs(a / b - 1) for a, b in zip(ours, theirs, strict=True)]
    if max(map(max, differences.values())) > TOLERANCE:
        raise SystemExit(
            "the sides do not compute the same: relative differences of the two terms"
            f" {differences}"
        )
    return {"terms": ours, "relative_difference_of_terms": differences}


def binary_images() -> np.ndarray:
    """uint8 0 or 1 [N, 28, 28, 1]."""
    return harness.noise_images(NUM_IMAGES) % 2


def main() -> int:
    """Checks, measures, writes."""
    arguments = harness.parse(
        harness.parser(__doc__.splitlines()[0], rounds=9, steps=100, seeds=[1, 4])
    )
    images, torch = binary_images(), harness.torch_or_none()
    checks = check_terms(torch, images) if torch else {}
    cases = harness.engine_cases(task, {"image": images}, arguments)
    for name, peer in peers().items() if torch else ():
        model = peer(torch, harness.torch_device(torch), images)
        cases[name] = harness.eager_case(torch, model.step, arguments.steps)
    harness.report("vae", cases, checks, arguments, "seed-steps/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
