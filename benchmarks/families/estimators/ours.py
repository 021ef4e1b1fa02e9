"""Estimators by the library."""

import jax
import jax.numpy as jnp

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from dgm_jax.sampling.estimators import ESTIMATORS


def estimate(name: str, variables: int, classes: int, width: int) -> Case:
    """One estimate."""
    drawn = shared.normal(variables * classes + 1, width)
    first, last = jnp.asarray(drawn[:-1]), jnp.asarray(drawn[-1])
    logits = jnp.asarray(shared.normal(variables, classes))

    def objective(x):
        hidden = jnp.tanh(x.reshape(*x.shape[:-2], -1) @ first / variables)
        return hidden @ last

    run = lambda key, logits: ESTIMATORS[name](key, objective, logits)
    return shared.compiled(run, jax.random.key(0), logits)
