"""Both sides give the same losses from the same weights, before and after each player's update."""

import jax

from benchmarks.contract import require_close
from benchmarks.families._shared.torch_dense import tensor
from benchmarks.families._shared.torch_training import update
from benchmarks.families.gan_ring import ours
from benchmarks.families.gan_ring.peer import TorchGan
from dgm_jax import training

TOLERANCE = 1e-5  # relative


def check(shape: dict[str, int]) -> dict:
    """Relative differences of the losses: D before any update, G after D's, D again, G again.

    Adam's first step is nearly a sign, so an entry of the gradient that is zero up to rounding may
    differ by a whole step: from the second number on the tolerance is ten times wider.
    """
    model = ours.model(shape)
    algorithm = training.alternating(model.players, ours.optimizers(shape))
    params, state = model.init(jax.random.key(0))
    # at N(0, .02^2) every logit is 0 and any mistake would pass
    gain = 8 * (128 / shape["width"]) ** 0.5
    params = jax.tree.map(lambda w: gain * w, params)
    now = algorithm.init(jax.random.key(1), params, state)
    batch = ours.task(shape).draw({}, jax.random.key(2), 0)
    x, z = tensor(batch["x"]), tensor(batch["z"])
    peer = TorchGan(**shape, fused=False, device="cpu")
    peer.load(now.params)
    step = jax.jit(lambda now: algorithm.step(now, lambda index: batch))
    differences = {}
    for turn in ("first", "second"):
        now, info = step(now)
        for name, loss in (
            ("discriminator", lambda: peer.discriminator_loss(x, z)),
            ("generator", lambda: peer.generator_loss(z)),
        ):
            theirs = loss()
            update(peer.adam[name], theirs)
            key = f"{name}, {turn} update"
            differences[key] = abs(float(info.losses[name]) / theirs.item() - 1)
    require_close({"discriminator": differences["discriminator, first update"]}, TOLERANCE)
    return {"relative_difference_of_losses": require_close(differences, 10 * TOLERANCE)}
