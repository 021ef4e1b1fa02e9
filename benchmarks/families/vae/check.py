"""All sides give the same terms of the bound from the same weights, batch and noise."""

import importlib.util

import jax
import jax.numpy as jnp
import torch

from benchmarks.contract import require_close
from benchmarks.families._shared.images import binary_images
from benchmarks.families._shared.torch_dense import tensor
from benchmarks.families.vae import ours
from benchmarks.families.vae.peer import PythaeVae, TorchVae
from dgm_jax import core
from dgm_jax.densities import gaussian
from dgm_jax.models import vae
from dgm_jax.models.latent import log_likelihood, posterior

TOLERANCE = 1e-5  # relative


def check(shape: dict[str, int]) -> dict:
    """Relative differences of the reconstruction and of the KL; of numpyro, of their sum."""
    parts, batch = ours.recipe(shape["width"], shape["latent"]), shape["batch"]
    params, state = vae(parts, ours.IMAGE).init(jax.random.key(0))
    x = jnp.asarray(binary_images(batch), jnp.float32)
    noise = core.normal(jax.random.key(1), (batch, shape["latent"]))

    @jax.jit
    def terms():
        loc, scale = posterior(parts, params, state, x)
        kl = jnp.sum(gaussian.kl(loc, scale, 0.0, 1.0), axis=-1)
        return -jnp.mean(log_likelihood(parts, params, state, loc + scale * noise, x)), jnp.mean(kl)

    mine, differences = [float(v) for v in terms()], {}
    peers = [TorchVae] + ([PythaeVae] if importlib.util.find_spec("pythae") else [])
    for peer_class in peers:
        peer = peer_class(**shape, device="cpu")
        peer.load(params)
        with torch.no_grad():
            theirs = peer.terms(tensor(x).reshape(batch, -1), tensor(noise))
        for name, a, b in zip(("reconstruction", "KL"), mine, theirs, strict=True):
            differences[f"{peer_class.__name__}, {name}"] = abs(a / float(b) - 1)
    if importlib.util.find_spec("numpyro") is not None:
        from benchmarks.families.vae import numpyro_peer

        bound = numpyro_peer.loss(params, x.reshape(batch, -1), noise)
        differences["numpyro, both"] = abs(sum(mine) / float(bound) - 1)
    return {"relative_difference_of_terms": require_close(differences, TOLERANCE)}
