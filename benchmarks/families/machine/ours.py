"""Products and copies, whose rates are the peaks that others are shares of."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import arithmetic
from benchmarks.contract import Case
from benchmarks.families._shared.engine import compiled, normal


def product(size: int) -> Case:
    """A float32 product of two square matrices by JAX; the count is in operations."""
    x = jnp.asarray(normal(size, size))
    return compiled(jnp.matmul, x, x, count=arithmetic.product(size, size, size))


def product_by_numpy(size: int) -> Case:
    """The same by numpy's BLAS, on the CPU."""
    x = normal(size, size)
    out = np.empty_like(x)
    return Case(lambda: np.matmul(x, x, out=out), arithmetic.product(size, size, size))


def copy(megabytes: int) -> Case:
    """A copy of so much memory; the count is in bytes, read and written."""
    num = megabytes * 2**20 // arithmetic.FLOAT
    if jax.default_backend() == "cpu":
        source, target = np.ones(num, np.float32), np.empty(num, np.float32)
        return Case(lambda: np.copyto(target, source), 2.0 * source.nbytes)
    x = jnp.ones(num, jnp.float32)
    return compiled(jnp.copy, x, count=2.0 * x.nbytes)
