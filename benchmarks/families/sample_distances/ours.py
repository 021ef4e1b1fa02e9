"""Distances by the library."""

import jax.numpy as jnp

from benchmarks.contract import Case
from benchmarks.families._shared.features import operands
from dgm_jax import evaluation


def kernel(rows: int, features: int) -> Case:
    """Unbiased, with the cubic kernel."""
    real, fake = map(jnp.asarray, operands(rows, features))
    return Case(lambda: evaluation.kernel_distance(real=real, fake=fake), 1)


def frechet(rows: int, features: int) -> Case:
    """Between the Gaussians with the moments of both sets."""
    real, fake = map(jnp.asarray, operands(rows, features))
    return Case(lambda: evaluation.frechet_distance(real=real, fake=fake), 1)
