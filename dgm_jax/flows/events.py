"""What every bijection requires of its input: floating vectors of one length on the last axis."""

import jax

from dgm_jax.core import Array, PyTree, at_least_float32, checks


def event(x: Array, dim: int) -> Array:
    """Convert an input to vectors of at least float32.

    Args:
        x: [*B, dim].
        dim: the length that the last axis must have.

    Returns:
        [*B, dim].

    Raises:
        ConfigError: the last axis is not `dim` long.
    """
    return at_least_float32(checks.vectors(x, "x", dim))


def wide(params: PyTree) -> PyTree:
    """Convert parameters to at least float32, since log-densities sum their log-scales.

    Args:
        params: a tree of floating arrays.

    Returns:
        The same tree, in at least float32.
    """
    return jax.tree.map(at_least_float32, params)
