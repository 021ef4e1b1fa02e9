"""Both sides give the same loss from the same weights and tokens."""

import jax
import torch

from benchmarks.contract import require_close
from benchmarks.families.transformer import ours
from benchmarks.families.transformer.peer import TorchTraining

TOLERANCE = 1e-5  # relative


def check(shape: dict[str, int]) -> dict:
    """Relative difference of the losses, with weights large enough that positions differ."""
    batch, length = shape["batch"], shape["length"]
    model = ours.model(shape["width"], shape["layers"], length)
    params, state = model.init(jax.random.key(0))
    params = jax.tree.map(lambda w: 4 * w if w.ndim == 2 else w, params)
    tokens = ours.tokens(length)[:batch]
    (player,) = model.players.values()
    loss = jax.jit(lambda p: player.loss(p, state, {"x": tokens}, jax.random.key(1))[0])
    mine, (own,) = float(loss(params)), params.values()
    peer = TorchTraining(own, batch, length, device="cpu")
    theirs = peer.loss(torch.from_numpy(tokens).long()).item()
    differences = {"nats": abs(mine / theirs - 1)}
    return {"relative_difference_of_losses": require_close(differences, TOLERANCE)}
