"""Both sides give the same loss from the same weights and noise, before and after a step of SGD."""

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.contract import Unequal, require_close
from benchmarks.families._shared.images import noise_images
from benchmarks.families._shared.torch_dense import image_tensor
from benchmarks.families.discrete_vae import GRID, ours
from benchmarks.families.discrete_vae.peer import TorchDiscreteVae
from dgm_jax import sampling

TOLERANCE, RATE = 2e-5, 1e-5


def check(shape: dict[str, int]) -> dict:
    """Relative differences of the losses."""
    batch, codes = shape["batch"], shape["codes"]
    model = ours.model(*(shape[name] for name in ("width", "residual_width", "codes")))
    params, state = model.init(jax.random.key(0))
    key, x = jax.random.key(1), noise_images(batch).astype(np.float32) / 255
    noise = np.asarray(sampling.perturbed_logits(key, jnp.zeros((batch, *GRID, codes))))
    (player,) = model.players.values()
    given = {"x": x, "step": 0}
    both = jax.jit(jax.value_and_grad(lambda p: player.loss(p, state, given, key)[0]))
    value, slopes = both(params)
    moved = jax.tree.map(lambda w, g: w - RATE * g, params, slopes)
    peer = TorchDiscreteVae(**shape, channels_last=False, device="cpu")
    peer.load(params)
    theirs = lambda: peer.loss(image_tensor(x), image_tensor(noise))
    before = theirs()
    before.backward()
    with torch.no_grad():
        for weight in peer.weights():
            weight -= RATE * weight.grad
    pairs = {"before": (value, before), "after": (both(moved)[0], theirs())}
    if not pairs["after"][0] < value:
        raise Unequal("a step of SGD does not lower the loss")
    differences = {n: abs(float(mine) / t.item() - 1) for n, (mine, t) in pairs.items()}
    return {"relative_difference_of_losses": require_close(differences, TOLERANCE)}
