"""Coupling: one part of a vector stays unchanged and decides how the other part moves."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, Bijection, PyTree, checks, require
from dgm_jax.flows.conditioner import dense
from dgm_jax.flows.events import event

# (moved[*B, M], raw[*B, M, P]) -> (new value of each coordinate, log of its slope), both [*B, M].
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
    """Move one part of a vector elementwise, with parameters computed from the other part.

    y_kept = x_kept, y_moved = f(x_moved; c(x_kept)); log|det dy/dx| = sum log f'.

    The conditioner c is a dense network (Dinh et al. 2017, "Density estimation using Real NVP",
    section 3.2).

    Args:
        dim: length of the vectors, at least 2.
        num_params: P, parameters of f for each moved coordinate.
        forward: f, `(moved [*B, M], raw [*B, M, P]) -> (moved [*B, M], log slope [*B, M])`.
        inverse: the inverse of f, with the same signature.
        hidden: widths of the hidden layers of c.
        mask: "halves" keeps the first dim // 2 coordinates, "alternating" those of even index.
        flip: move the coordinates that the mask keeps, and keep the others.

    Returns:
        A bijection of x [*B, dim], with log-determinants [*B] in nats.

    Raises:
        ConfigError: dim is below 2, the mask is unknown, or a width is not positive.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> double = lambda moved, raw: (2 * moved, jnp.full(moved.shape, jnp.log(2.0)))
        >>> halve = lambda moved, raw: (moved / 2, jnp.full(moved.shape, -jnp.log(2.0)))
        >>> layer = flows.coupling(2, 1, double, halve)
        >>> y, log_det = layer.forward_and_log_det(layer.init(jax.random.key(0)), jnp.ones(2))
        >>> print(y.tolist(), f"{log_det:.4f}")  # log 2
        [1.0, 2.0] 0.6931
    """
    checks.whole(dim, "dim", at_least=2)
    names = ", ".join(MASKS)
    require(mask in MASKS, f"mask must be one of {names}; got {mask!r}")
    num_first = dim // 2 if mask == "halves" else (dim + 1) // 2
    num_kept = dim - num_first if flip else num_first
    num_moved = dim - num_kept
    conditioner = dense(num_kept, num_moved * num_params, hidden)

    def apply(function: Elementwise) -> Callable[[PyTree, Array], tuple[Array, Array]]:
        def mapped(params: PyTree, x: Array) -> tuple[Array, Array]:
            x = event(x, dim)
            parts = _split(x, mask)
            kept, moved = parts[::-1] if flip else parts
            raw = conditioner.apply(params, kept)
            raw = raw.reshape(*moved.shape, num_params)
            moved, log_slope = function(moved, raw)
            parts = (moved, kept) if flip else (kept, moved)
            y = _join(parts, mask)
            log_det = jnp.sum(log_slope, -1)
            return y, log_det

        return mapped

    return Bijection(conditioner.init, apply(forward), apply(inverse))


def _split(x: Array, mask: str) -> tuple[Array, Array]:
    if mask == "alternating":
        return x[..., 0::2], x[..., 1::2]
    half = x.shape[-1] // 2
    return x[..., :half], x[..., half:]


def _join(parts: tuple[Array, Array], mask: str) -> Array:
    if mask == "halves":
        return jnp.concatenate(parts, -1)
    dim = sum(part.shape[-1] for part in parts)

    def spread(part: Array, start: int) -> Array:
        """The part at every second position from `start` on, with zeros between.

        Padding is used because its gradient, unlike that of an indexed update, needs no scatter.
        """
        length = 2 * part.shape[-1] - 1
        end = dim - start - length
        padding = [(0, 0, 0)] * (part.ndim - 1)
        padding.append((start, end, 1))
        zero = jnp.zeros((), part.dtype)
        return lax.pad(part, zero, padding)

    first, second = parts
    return spread(first, 0) + spread(second, 1)
