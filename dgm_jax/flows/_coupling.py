"""Coupling: one part of the vector passes unchanged and decides how the other part moves."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, Bijection, checks, require
from dgm_jax.flows.conditioner import dense
from dgm_jax.flows.events import event

# (moved[*B, M], raw[*B, M, P]) -> (where each coordinate goes, the log of its slope), both [*B, M].
Elementwise = Callable[[Array, Array], tuple[Array, Array]]
MASKS = ("halves", "alternating")


def coupling(
    dim: int,
    num_params: int,
    forward: Elementwise,
    inverse: Elementwise,
    *,
    hidden: tuple[int, ...] = (64, 64),
    mask: str = "halves",
    flip: bool = False,
) -> Bijection:
    """y_kept = x_kept, y_moved = f(x_moved; c(x_kept)); log|det dy/dx| = sum log f'.

    c is a dense network with `num_params` = P outputs for each moved coordinate. `mask` "halves"
    keeps the first dim // 2 coordinates, "alternating" those with an even index; with `flip` these
    move and the others are kept. Dinh et al. 2017, "Density estimation using Real NVP", section
    3.2. Raises `ConfigError` for dim < 2, where nothing could decide, and for an unknown mask.
    """
    checks.whole(dim, "dim", at_least=2)
    require(mask in MASKS, f"mask must be one of {', '.join(MASKS)}; got {mask!r}")
    first = dim // 2 if mask == "halves" else -(-dim // 2)
    num_kept = dim - first if flip else first
    conditioner = dense(num_kept, (dim - num_kept) * num_params, hidden)

    def apply(function):
        def mapped(params, x):
            parts = _split(event(x, dim), mask)
            kept, moved = parts[::-1] if flip else parts
            raw = conditioner.apply(params, kept).reshape(*moved.shape, num_params)
            moved, log_slope = function(moved, raw)
            return _join((moved, kept) if flip else (kept, moved), mask), jnp.sum(log_slope, -1)

        return mapped

    return Bijection(conditioner.init, apply(forward), apply(inverse))


def _split(x: Array, mask: str) -> tuple[Array, Array]:
    if mask == "alternating":
        return x[..., 0::2], x[..., 1::2]
    return x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]


def _join(parts: tuple[Array, Array], mask: str) -> Array:
    if mask == "halves":
        return jnp.concatenate(parts, -1)
    dim = sum(part.shape[-1] for part in parts)

    def spread(part, start):
        """Every other place from `start` on, zeros between: padding, whose gradient needs no
        scatter."""
        end = dim - start - (2 * part.shape[-1] - 1)
        return lax.pad(
            part, jnp.zeros((), part.dtype), [(0, 0, 0)] * (part.ndim - 1) + [(start, end, 1)]
        )

    return spread(parts[0], 0) + spread(parts[1], 1)
