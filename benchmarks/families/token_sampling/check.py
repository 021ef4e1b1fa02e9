"""Cached, uncached and PyTorch's logits agree at every position of random tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.contract import require_close
from benchmarks.families._shared.torch_transformer import TorchTransformer
from benchmarks.families.token_sampling import HEADS, IDS, ours

TOLERANCE, ROWS = 1e-4, 2


def check(shape: dict[str, int]) -> dict:
    """Largest differences of the logits."""
    width, length = shape["width"], shape["length"]
    network, params = ours.network(width, length), ours.parameters(width, length)
    tokens = jax.random.randint(jax.random.key(1), (ROWS, length), 0, IDS)
    full = np.asarray(jax.jit(network.logits)(params, tokens)).transpose(1, 0, 2)
    before = jnp.concatenate([jnp.zeros((1, ROWS), jnp.int32), tokens.T[:-1]])
    step = lambda cache, inputs: network.step(params, cache, *inputs)
    inputs = before, jnp.arange(length)
    cached = jax.jit(lambda c: jax.lax.scan(step, c, inputs)[1])(network.init_cache(ROWS))
    peer = TorchTransformer(params, HEADS, length)
    with torch.no_grad():
        caches = peer.empty(ROWS)
        rows = torch.from_numpy(np.array(before)).long()
        theirs = np.stack([peer.step(caches, row, i).numpy() for i, row in enumerate(rows)])
    differences = {"cached": np.asarray(cached), "torch": theirs}
    largest = {name: float(np.abs(each - full).max()) for name, each in differences.items()}
    return {"largest_difference_of_logits": require_close(largest, TOLERANCE)}
