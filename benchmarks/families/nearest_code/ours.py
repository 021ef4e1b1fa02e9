"""The streamed search, and the full matrix."""

import jax.numpy as jnp
import numpy as np
from jax.lax import Precision

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from benchmarks.families.nearest_code import WIDTH
from dgm_jax import quantization


def operands(num: int, codes: int) -> tuple[np.ndarray, np.ndarray]:
    """(vectors [N, D], codebook [K, D])."""
    both = shared.normal(num + codes, WIDTH)
    return both[:num], both[num:]


def scores(z, codebook):
    """|e|^2 / 2 - z e: [N, K]."""
    product = jnp.matmul(z, codebook.T, precision=Precision.HIGHEST)
    return jnp.sum(codebook**2, axis=1) / 2 - product


def by_argmin(z, codebook):
    """The full matrix and `argmin`."""
    return jnp.argmin(scores(z, codebook), axis=1).astype(jnp.int32)


def by_reductions(z, codebook):
    """The full matrix, its minimum, and the lowest index that has it."""
    found = scores(z, codebook)
    least = found == jnp.min(found, axis=1, keepdims=True)
    indices = jnp.arange(found.shape[1], dtype=jnp.int32)
    return jnp.min(jnp.where(least, indices, found.shape[1]), axis=1)


WAYS = {
    "streamed": quantization.nearest_code,
    "argmin": by_argmin,
    "reductions": by_reductions,
}


def search(num: int, codes: int, way: str) -> Case:
    """All vectors."""
    return shared.compiled(WAYS[way], *map(jnp.asarray, operands(num, codes)), count=num)
