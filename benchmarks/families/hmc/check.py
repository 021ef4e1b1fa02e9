"""All sides have the same density and gradient; from the same momentum ours and numpyro's accept
with the same probability and end at the same place. PyTorch's transitions are checked in
`annealing`."""

import importlib.util

import jax
import numpy as np

from benchmarks.contract import require_close
from benchmarks.families._shared.torch_dense import tensor
from benchmarks.families.annealing import ours as annealed
from benchmarks.families.annealing.peer import TorchAnnealing
from benchmarks.families.hmc import ours
from dgm_jax import core

CHAINS, TOLERANCE, AFTER = 16, 1e-5, 1e-3  # of densities, relative; after ten leapfrog steps


def check(images: int) -> dict:
    """Differences."""
    params, (x, z) = annealed.decoder_params(), ours.start(images, CHAINS)
    at = jax.jit(ours.evaluate(params, x))(z)
    peer = TorchAnnealing("cpu")
    peer.load(params)
    pairs = zip((at.ratio, at.ratio_slope), peer.evaluate(tensor(x), tensor(z)), strict=True)
    names = ("torch, density", "torch, gradient")
    found = {name: _relative(a, b.numpy()) for name, (a, b) in zip(names, pairs, strict=True)}
    after = {}
    if importlib.util.find_spec("numpyro") is not None:
        before, after = _numpyro(params, x, z, at)
        found |= before
    return {
        "relative_difference": require_close(found, TOLERANCE),
        "after_a_transition": require_close(after, AFTER),
    }


def _numpyro(params, x, z, at) -> tuple[dict, dict]:
    """Differences before and after a transition whose momentum both sides share."""
    from benchmarks.families.hmc import numpyro_peer

    key, made = jax.random.key(2), numpyro_peer.kernel(params)
    momentum = core.normal(jax.random.split(key)[0], z.shape)  # as `hmc.transition` draws it
    states = numpyro_peer.start(made, x, z)
    before = {
        "numpyro, density": _relative(at.base + at.ratio, -states.potential_energy),
        "numpyro, gradient": _relative(at.base_slope + at.ratio_slope, -states.z_grad["z"]),
    }
    end, probability = jax.jit(lambda key: ours.move(key, at, params, x))(key)
    states = states._replace(r={"z": momentum})
    theirs = jax.jit(lambda states: numpyro_peer.move(made, states, x))(states)
    both = np.any(end.z != z, axis=-1) & np.any(theirs.z["z"] != z, axis=-1)
    return before, {
        "acceptance": float(np.abs(probability - theirs.accept_prob).max()),
        "place": _relative(end.z[both], theirs.z["z"][both]),
    }


def _relative(a, b) -> float:
    return float(np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(b)).max())
