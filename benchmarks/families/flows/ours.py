"""Flows by the library."""

import jax
import jax.numpy as jnp

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from dgm_jax.flows import BIJECTIONS


def moved_params(kind: str, dim: int):
    """Weights that are not those of the identity."""
    noise = lambda i, w: w + 0.05 * jax.random.normal(jax.random.key(i), w.shape, w.dtype)
    leaves, structure = jax.tree.flatten(BIJECTIONS[kind](dim).init(jax.random.key(0)))
    moved = [
        noise(i, w) if jnp.issubdtype(w.dtype, jnp.floating) else w for i, w in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, moved)


def run(kind: str, direction: str, dim: int):
    """The function of params and x: one direction with its log-determinant."""
    flow = BIJECTIONS[kind](dim)
    return {"forward": flow.forward_and_log_det, "inverse": flow.inverse_and_log_det}[direction]


def apply(kind: str, direction: str, dim: int, batch: int) -> Case:
    """One direction."""
    params, x = moved_params(kind, dim), jnp.asarray(shared.normal(batch, dim))
    return shared.compiled(run(kind, direction, dim), params, x, count=batch)
