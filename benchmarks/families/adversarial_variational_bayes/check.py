"""Both sides give the same losses from the same weights, batch and noise."""

import jax
import jax.numpy as jnp

from benchmarks.contract import require_close
from benchmarks.families._shared.images import binary_images
from benchmarks.families._shared.torch_dense import tensor
from benchmarks.families.adversarial_variational_bayes import BLOCKS, LATENT, NOISE, ours
from benchmarks.families.adversarial_variational_bayes.peer import TorchAvb
from dgm_jax import core
from dgm_jax.models import AvbDraw, adversarial_variational_bayes, avb_critic_logits
from dgm_jax.models.latent import log_likelihood
from dgm_jax.objectives.adversarial_variational_bayes import critic_loss

TOLERANCE = 1e-5  # relative


def check(shape: dict[str, int]) -> dict:
    """Relative differences of both losses."""
    batch, width = shape["batch"], shape["critic"]
    parts = ours.recipe(shape["hidden"], width)
    params, state = adversarial_variational_bayes(parts, ours.IMAGE).init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), BLOCKS + 2)
    # they are zero at the start, where any mistake in a block would pass
    for block in range(BLOCKS):
        kernel = 1.6 / width**0.5 * core.normal(keys[block], (width, width))
        params["critic"][f"outer_{block}"]["kernel"] = kernel
    x = jnp.asarray(binary_images(batch), jnp.float32)
    noise = core.normal(keys[-2], (batch, NOISE))
    other = core.normal(keys[-1], (batch, LATENT))

    @jax.jit
    def losses():
        inputs = (x.reshape(batch, -1), noise)
        z = parts.encoder.apply(params["encoder"], state["encoder"], inputs, train=False)[0]
        logits = [
            avb_critic_logits(parts, params, state, x, AvbDraw(each, None)) for each in (z, other)
        ]
        bound = logits[0] - log_likelihood(parts, params, state, z, x)
        return {"vae": jnp.mean(bound), "critic": critic_loss(*logits)}

    peer = TorchAvb(**shape, device="cpu")
    peer.load(params)
    flat, numbers = tensor(x).reshape(batch, -1), tensor(noise)
    theirs = {
        "vae": peer.vae_loss(flat, numbers),
        "critic": peer.critic_loss(flat, numbers, tensor(other)),
    }
    differences = {n: abs(float(v) / theirs[n].item() - 1) for n, v in losses().items()}
    return {"relative_difference_of_losses": require_close(differences, TOLERANCE)}
