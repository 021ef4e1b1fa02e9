"""Both sides give the same losses from the same weights and batch, in both layouts of PyTorch."""

import jax
import jax.numpy as jnp

from benchmarks.contract import require_close
from benchmarks.families._shared.images import noise_images
from benchmarks.families._shared.torch_dense import image_tensor, tensor
from benchmarks.families.gan_images import LATENT, ours
from benchmarks.families.gan_images.peer import TorchGan
from dgm_jax import core

TOLERANCE = 1e-5  # relative


def check(shape: dict[str, int]) -> dict:
    """Relative differences of both losses."""
    batch, model = shape["batch"], ours.model(shape["features"])
    params, state = model.init(jax.random.key(0))
    # at N(0, .02^2) every logit is nearly 0 and any mistake would pass
    params = jax.tree.map(lambda w: 3 * w if w.ndim > 1 else w, params)
    x = ours.to_model_range(jnp.asarray(noise_images(batch)))
    z = core.normal(jax.random.key(1), (batch, LATENT))
    differences = {}
    for channels_last in (False, True):
        peer = TorchGan(**shape, channels_last=channels_last, device="cpu")
        peer.load(params)
        theirs = {
            "discriminator": peer.discriminator_loss(image_tensor(x), tensor(z)),
            "generator": peer.generator_loss(tensor(z)),
        }
        for name, their in theirs.items():
            loss = jax.jit(model.players[name].loss)
            mine = float(loss(params, state, {"x": x, "z": z}, jax.random.key(2))[0])
            layout = f"{name}, channels {'last' if channels_last else 'first'}"
            differences[layout] = abs(mine / their.item() - 1)
    return {"relative_difference_of_losses": require_close(differences, TOLERANCE)}
