"""Flows by the library."""

import jax
import jax.numpy as jnp

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from dgm_jax.flows import BIJECTIONS


def apply(kind: str, direction: str, dim: int, batch: int) -> Case:
    """One direction, with weights that are not those of the identity."""
    flow = BIJECTIONS[kind](dim)
    noise = lambda i, w: w + 0.05 * jax.random.normal(jax.random.key(i), w.shape, w.dtype)
    leaves, structure = jax.tree.flatten(flow.init(jax.random.key(0)))
    moved = [
        noise(i, w) if jnp.issubdtype(w.dtype, jnp.floating) else w for i, w in enumerate(leaves)
    ]
    params, x = jax.tree.unflatten(structure, moved), jnp.asarray(shared.normal(batch, dim))
    run = {"forward": flow.forward_and_log_det, "inverse": flow.inverse_and_log_det}[direction]
    return shared.compiled(run, params, x, count=batch)
