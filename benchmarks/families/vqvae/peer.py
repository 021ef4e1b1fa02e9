"""The VQ-VAE in PyTorch."""

import torch

from benchmarks.contract import Case
from benchmarks.families._shared import torch_autoencoder, torch_training
from benchmarks.families._shared.images import noise_images
from benchmarks.families._shared.torch_dense import image_tensor, tensor
from benchmarks.families._shared.torch_training import DEVICE, rows, update
from benchmarks.families.vqvae import CODE_WIDTH, NUM_IMAGES


class TorchVqVae:
    """The same model, losses and optimizer."""

    def __init__(
        self,
        width: int,
        residual_width: int,
        codes: int,
        batch: int,
        channels_last: bool,
        device: str = DEVICE,
    ):
        self.batch_size = batch
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        nets = torch_autoencoder.make(CODE_WIDTH, 1, width, residual_width)
        self.nets = {name: net.to(device, memory_format=self.layout) for name, net in nets.items()}
        self.book = torch.nn.Parameter(torch.rand(codes, CODE_WIDTH, device=device) / 10)
        self.adam = torch.optim.Adam(self.weights(), 3e-4, fused=True)
        self.images = image_tensor(noise_images(NUM_IMAGES)).to(device)

    def weights(self):
        """All parameters."""
        return [w for net in self.nets.values() for w in net.parameters()] + [self.book]

    def load(self, params):
        """Takes over the weights of the JAX model."""
        self.book.data.copy_(tensor(params["codebook"]))
        torch_autoencoder.load(self.nets, params)

    def batch(self):
        """Random images in [-.5, .5]."""
        images = rows(self.images, self.batch_size).float() / 255 - 0.5
        return images.contiguous(memory_format=self.layout)

    def loss(self, x):
        """Squared error, codebook and commitment terms."""
        square = torch.nn.functional.mse_loss
        z = self.nets["encoder"](x).permute(0, 2, 3, 1)
        flat = z.reshape(-1, CODE_WIDTH)
        with torch.no_grad():
            codes = torch.cdist(flat, self.book).argmin(1)
        chosen = self.book[codes].reshape(z.shape)
        terms = square(chosen, z.detach()) + 0.25 * square(z, chosen.detach())
        quantized = (z + (chosen - z).detach()).permute(0, 3, 1, 2)
        return square(self.nets["decoder"](quantized), x) + terms

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
    model = TorchVqVae(**shape, channels_last=channels_last)
    return torch_training.eager(model, steps, compiled=compiled, autocast=autocast)
