"""Sums of the marginal densities of many diagonal Gaussians."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, even_chunks
from dgm_jax.densities.gaussian import HALF_LOG_TWO_PI

# Gaussians that are added to a tile at once.
_AT_ONCE = 16


def marginal_sums(x: Array, loc: Array, scale: Array, chunk_size: int) -> Array:
    """log sum_j N(x_id; m_jd, s_jd^2), [M, D].

    A few Gaussians at a time are added to a tile [D, R] of sums, elementwise: sums over an axis
    would be slower on CPU.

    Args:
        x: [M, D].
        loc: [N, D].
        scale: [N, D].
        chunk_size: R, rows of x in a tile.

    Returns:
        Nats.
    """
    constants = -jnp.log(scale) - HALF_LOG_TWO_PI
    groups = (
        even_chunks(loc, _AT_ONCE, 0.0),
        even_chunks(1 / scale, _AT_ONCE, 1.0),
        even_chunks(constants, _AT_ONCE, -jnp.inf),
    )

    def of_tile(x: Array) -> Array:
        x = x.T

        @jax.checkpoint
        def add(state: tuple[Array, Array], group: tuple[Array, ...]) -> tuple[tuple, None]:
            top, total = state
            columns = [a[..., None] for a in group]  # [G, D, 1]
            log_densities = [
                constant - jnp.square((x - loc) * inverse) / 2
                for loc, inverse, constant in zip(*columns, strict=True)
            ]
            new = lax.stop_gradient(functools.reduce(jnp.maximum, log_densities, top))
            total = total * jnp.exp(top - new) + sum(jnp.exp(a - new) for a in log_densities)
            return (new, total), None

        lowest = jnp.full(x.shape, jnp.finfo(x.dtype).min / 4, x.dtype)
        (top, total), _ = lax.scan(add, (lowest, jnp.zeros_like(x)), groups)
        return (top + jnp.log(total)).T

    tiles = even_chunks(x, chunk_size, 0.0)
    return lax.map(of_tile, tiles).reshape(-1, x.shape[1])[: len(x)]
