"""What every bijection asks of its input: floating vectors of one known length along the last
axis."""

import jax

from dgm_jax.core import Array, PyTree, at_least_float32, checks


def event(x: Array, dim: int) -> Array:
    """x as an array [*B, dim] of at least float32; `ConfigError` for another last axis."""
    return at_least_float32(checks.vectors(x, "x", dim))


def wide(params: PyTree) -> PyTree:
    """Parameters in at least float32: sums of log-scales of half precision are densities too."""
    return jax.tree.map(at_least_float32, params)
