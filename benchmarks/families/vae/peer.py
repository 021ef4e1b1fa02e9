"""The dense VAE in PyTorch, and inside pythae."""

import torch

from benchmarks.contract import Case
from benchmarks.families._shared import torch_dense, torch_training
from benchmarks.families._shared.images import binary_images
from benchmarks.families._shared.torch_training import DEVICE, binary_loss, rows, update
from benchmarks.families.vae import NUM_IMAGES, PIXELS, widths


class TorchVae:
    """The same model, data and optimizer."""

    def __init__(self, width: int, latent: int, batch: int, device: str = DEVICE):
        self.latent, self.batch = latent, batch
        first, second = widths(width, latent)
        self.encoder = torch_dense.mlp(first, torch.nn.ReLU).to(device)
        self.decoder = torch_dense.mlp(second, torch.nn.ReLU).to(device)
        weights = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.adam = torch.optim.Adam(weights, 1e-3, fused=True)
        images = torch.from_numpy(binary_images(NUM_IMAGES)).reshape(NUM_IMAGES, PIXELS)
        self.images = images.to(device)

    def load(self, params):
        """Takes over the weights of the JAX model."""
        torch_dense.load(self.encoder, params["encoder"])
        torch_dense.load(self.decoder, params["decoder"])

    def terms(self, x, noise):
        """(reconstruction, KL), means over the batch."""
        loc, log_scale = self.encoder(x).chunk(2, dim=1)
        losses = binary_loss(self.decoder(loc + log_scale.exp() * noise), x)
        kl = 0.5 * (loc**2 + (2 * log_scale).exp() - 1) - log_scale
        return losses.mean(), kl.sum(1).mean()

    def loss(self, x):
        """-ELBO."""
        return sum(self.terms(x, torch.randn(len(x), self.latent, device=x.device)))

    def step(self):
        """One update on a fresh batch."""
        update(self.adam, self.loss(rows(self.images, self.batch).float()))


class PythaeVae(TorchVae):
    """The same networks inside pythae's `VAE`."""

    def __init__(self, width: int, latent: int, batch: int, device: str = DEVICE):
        super().__init__(width, latent, batch, device)
        from pythae.models import VAE, VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder

        networks = self.encoder, self.decoder

        class Encoder(BaseEncoder):
            def forward(self, x):
                loc, log_scale = networks[0](x).chunk(2, dim=1)
                return ModelOutput(embedding=loc, log_covariance=2 * log_scale)

        class Decoder(BaseDecoder):
            def forward(self, z):
                return ModelOutput(reconstruction=networks[1](z).sigmoid())

        settings = VAEConfig(input_dim=(PIXELS,), latent_dim=latent, reconstruction_loss="bce")
        self.model = VAE(settings, Encoder(), Decoder())

    def terms(self, x, noise):
        """As pythae has them."""
        draw = self.model._sample_gauss
        self.model._sample_gauss = lambda loc, scale: (loc + scale * noise, noise)
        found = self.model({"data": x})
        self.model._sample_gauss = draw
        return found.recon_loss, found.reg_loss

    def loss(self, x):
        """-ELBO."""
        return self.model({"data": x}).loss


def eager(shape: dict[str, int], steps: int, pythae: bool = False, compiled: bool = False) -> Case:
    """One seed."""
    model = (PythaeVae if pythae else TorchVae)(**shape)
    return torch_training.eager(model, steps, compiled=compiled)
