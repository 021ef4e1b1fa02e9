"""Both sides give the same bound from the same weights, batch and relaxed draw."""

import jax
import jax.numpy as jnp

from benchmarks.contract import require_close
from benchmarks.families._shared.images import binary_images
from benchmarks.families._shared.torch_dense import tensor
from benchmarks.families.gumbel_vae import CLASSES, LATENTS, ours, widths
from benchmarks.families.gumbel_vae.peer import TorchGumbelVae
from dgm_jax.models import GumbelVae
from dgm_jax.networks import MLP, from_flax, reshaped

TOLERANCE = 1e-5  # relative


def check(shape: dict[str, int]) -> dict:
    """Relative difference of the negative bound, with a given draw in place of a random one."""
    batch, width = shape["batch"], shape["width"]
    first, second = widths(width)
    encoder = reshaped(from_flax(MLP(first[1:], "relu", "glorot")), (LATENTS, CLASSES))
    decoder = reshaped(from_flax(MLP(second[1:], "relu", "glorot")), ours.IMAGE)
    densities = GumbelVae(encoder, decoder, (LATENTS,), CLASSES).latent_model()
    params, state = ours.model(width).init(jax.random.key(0))
    x = jnp.asarray(binary_images(batch), jnp.float32)
    relaxed = jax.nn.softmax(jax.random.normal(jax.random.key(1), (batch, LATENTS, CLASSES)))

    @jax.jit
    def loss():
        q, _ = densities.posterior(params, state, x, train=False)
        log_x, _ = densities.log_likelihood(params, state, relaxed, x, train=False)
        kl = jnp.sum(densities.rate(params, state, q), axis=-1)
        return jnp.mean(kl - log_x)

    peer = TorchGumbelVae(**shape, device="cpu")
    peer.load(params)
    theirs = peer.loss(tensor(x).reshape(batch, -1), tensor(relaxed)).item()
    differences = {"negative bound": abs(float(loss()) / theirs - 1)}
    return {"relative_difference_of_losses": require_close(differences, TOLERANCE)}
