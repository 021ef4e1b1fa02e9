"""Monotone rational-quadratic splines of one variable, elementwise, with the identity outside
[-bound, bound].

Durkan et al. 2019, "Neural spline flows", section 3.1 and eq. 4-8. With knots (x_k, y_k), slopes
d_k > 0 there, xi = (x - x_k) / (x_{k+1} - x_k) and s_k = (y_{k+1} - y_k) / (x_{k+1} - x_k), bin k
has

    y = y_k + (y_{k+1} - y_k) (s_k xi^2 + d_k xi (1 - xi))
              / (s_k + (d_k + d_{k+1} - 2 s_k) xi (1 - xi)).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, checks, require, widened

MIN_BIN = 1e-3  # share of [-bound, bound] that every bin keeps, on both axes
MIN_SLOPE = 1e-3  # slope at a knot is never less


class Bins(NamedTuple):
    """The bin that each number falls into; all fields [*B]."""

    x: Array  # its left knot
    y: Array
    width: Array
    height: Array
    slope: Array  # at the left knot
    next_slope: Array  # at the right knot


def num_spline_params(num_bins: int) -> int:
    """3 K - 1 numbers for K bins: K widths, K heights and the slopes at the K - 1 inner knots."""
    fits = checks.is_whole(num_bins) and 1 <= num_bins < 1 / MIN_BIN
    require(fits, f"num_bins must be an integer in [1, 999]; got {num_bins!r}")
    return 3 * num_bins - 1


def spline_forward(x: Array, raw: Array, bound: float) -> tuple[Array, Array]:
    """(y, log dy/dx) of x [*B] with raw parameters [*B, 3 K - 1]; zero parameters are the identity
    to rounding.

    Widths and heights are softmax shares, at least 0.001 of the range; slopes softplus, at least
    0.001, and 1 at both ends so that the tails join on smoothly.
    """
    x, raw = widened(x, raw)
    inside = jnp.abs(x) <= bound
    # Outside, the spline is evaluated at 0 and thrown away: its gradient there is finite too.
    safe = jnp.where(inside, x, 0)
    bins = _find(safe, raw, bound, by_height=False)
    xi = jnp.clip((safe - bins.x) / bins.width, 0, 1)
    y, log_slope = _evaluate(xi, bins)
    return jnp.where(inside, y, x), jnp.where(inside, log_slope, 0)


def spline_inverse(y: Array, raw: Array, bound: float) -> tuple[Array, Array]:
    """(x, log dx/dy) of y [*B]: the root in [0, 1] of a xi^2 + b xi + c = 0 in the bin of y.

    The root is 2 c / (-b - sqrt(b^2 - 4 a c)), which loses no digits where a is near 0 (Durkan et
    al. 2019, eq. 6-8); one Newton step takes off what rounding left of it.
    """
    y, raw = widened(y, raw)
    inside = jnp.abs(y) <= bound
    safe = jnp.where(inside, y, 0)
    bins = _find(safe, raw, bound, by_height=True)
    slope = bins.height / bins.width
    rise, bend = safe - bins.y, bins.next_slope + bins.slope - 2 * slope
    a, b, c = (
        bins.height * (slope - bins.slope) + rise * bend,
        bins.height * bins.slope - rise * bend,
        -slope * rise,
    )
    square = b * b - 4 * a * c
    tiny = jnp.finfo(square.dtype).tiny
    root = jnp.sqrt(jnp.where(square > tiny, square, tiny))
    xi = jnp.clip(2 * c / (-b - root), 0, 1)
    reached, log_slope = _evaluate(xi, bins)
    xi = jnp.clip(xi - (reached - safe) / (jnp.exp(log_slope) * bins.width), 0, 1)
    _, log_slope = _evaluate(xi, bins)
    return jnp.where(inside, bins.x + xi * bins.width, y), jnp.where(inside, -log_slope, 0)


def _evaluate(xi: Array, bins: Bins) -> tuple[Array, Array]:
    """(y, log dy/dx) at the place xi in [0, 1] of a bin."""
    slope = bins.height / bins.width
    across = xi * (1 - xi)
    below = slope + (bins.next_slope + bins.slope - 2 * slope) * across
    y = bins.y + bins.height * (slope * xi**2 + bins.slope * across) / below
    above = bins.next_slope * xi**2 + 2 * slope * across + bins.slope * (1 - xi) ** 2
    return y, 2 * jnp.log(slope) + jnp.log(above) - 2 * jnp.log(below)


def _find(value: Array, raw: Array, bound: float, by_height: bool) -> Bins:
    """The bin of each value, read off with masks: a gather's gradient would be a scatter."""
    width = jnp.shape(raw)[-1]
    require(
        width >= 2 and (width + 1) % 3 == 0,
        f"raw must be [*B, 3 K - 1] for K bins; got {width} numbers",
    )
    num_bins = (width + 1) // 3
    x = _knots(raw[..., :num_bins], bound)
    y = _knots(raw[..., num_bins : 2 * num_bins], bound)
    # softplus(shift) = 1 - MIN_SLOPE, so that zero means a slope of 1.
    slopes = MIN_SLOPE + jax.nn.softplus(
        raw[..., 2 * num_bins :] + math.log(math.expm1(1 - MIN_SLOPE))
    )
    slopes = jnp.pad(slopes, [(0, 0)] * (slopes.ndim - 1) + [(1, 1)], constant_values=1)
    inner = (y if by_height else x)[..., 1:-1]
    number = jnp.sum(value[..., None] >= inner, -1)
    here = number[..., None] == jnp.arange(num_bins)

    def pick(values):
        return jnp.sum(jnp.where(here, values, 0), -1)

    left, low = pick(x[..., :-1]), pick(y[..., :-1])
    width, height = pick(x[..., 1:] - x[..., :-1]), pick(y[..., 1:] - y[..., :-1])
    return Bins(left, low, width, height, pick(slopes[..., :-1]), pick(slopes[..., 1:]))


def _knots(logits: Array, bound: float) -> Array:
    """[*B, K] -> K + 1 rising knots from -bound to bound, both met exactly."""
    num_bins = logits.shape[-1]
    shares = MIN_BIN + (1 - MIN_BIN * num_bins) * jax.nn.softmax(logits, -1)
    inner = -bound + 2 * bound * jnp.cumsum(shares, -1)[..., :-1]
    ends = jnp.full((*logits.shape[:-1], 1), bound, inner.dtype)
    return jnp.concatenate([-ends, inner, ends], -1)
