"""Draws by the library."""

import jax
import jax.numpy as jnp

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from dgm_jax import sampling


def gumbel_max(rows: int, classes: int) -> Case:
    """Hard draws."""
    logits = jnp.asarray(shared.normal(rows, classes))
    return shared.compiled(sampling.gumbel_max, jax.random.key(0), logits, count=rows)


def gumbel_softmax(rows: int, classes: int) -> Case:
    """Relaxed draws, and the gradient of the sum of their squares."""
    logits = jnp.asarray(shared.normal(rows, classes))

    def slope(key, logits):
        value = lambda logits: jnp.sum(sampling.gumbel_softmax(key, logits, 0.5) ** 2)
        return jax.grad(value)(logits)

    return shared.compiled(slope, jax.random.key(0), logits, count=rows)
