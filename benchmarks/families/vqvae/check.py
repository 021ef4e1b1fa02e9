"""Both sides give the same loss from the same weights, before and after one step of SGD on it."""

import jax
import numpy as np
import torch

from benchmarks.contract import require_close
from benchmarks.families._shared.images import noise_images
from benchmarks.families._shared.torch_dense import image_tensor
from benchmarks.families.vqvae import ours
from benchmarks.families.vqvae.peer import TorchVqVae

TOLERANCE, RATE = 2e-5, 0.1


def check(shape: dict[str, int]) -> dict:
    """Relative differences of the losses."""
    init, loss = ours.parts(*(shape[name] for name in ("width", "residual_width", "codes")))
    params, state = init(jax.random.key(0))
    x = noise_images(shape["batch"]).astype(np.float32) / 255 - 0.5
    both = jax.jit(jax.value_and_grad(lambda p: loss(p, state, {"x": x}, None)[0]))
    value, slopes = both(params)
    moved = jax.tree.map(lambda w, g: w - RATE * g, params, slopes)
    peer = TorchVqVae(**shape, channels_last=False, device="cpu")
    peer.load(params)
    before = peer.loss(image_tensor(x))
    before.backward()
    with torch.no_grad():
        for weight in peer.weights():
            weight -= RATE * weight.grad
    pairs = {"before": (value, before), "after": (both(moved)[0], peer.loss(image_tensor(x)))}
    differences = {n: abs(float(mine) / theirs.item() - 1) for n, (mine, theirs) in pairs.items()}
    return {"relative_difference_of_losses": require_close(differences, TOLERANCE)}
