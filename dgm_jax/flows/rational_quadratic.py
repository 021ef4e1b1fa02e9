"""Monotone rational-quadratic splines of one variable, elementwise, the identity outside
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
MIN_SLOPE = 1e-3  # smallest slope at a knot


class Bins(NamedTuple):
    """The bin that contains each number, in the paper's notation; all fields are [*B].

    Attributes:
        x: x_k, the left knot.
        y: y_k.
        width: x_{k+1} - x_k.
        height: y_{k+1} - y_k.
        slope: d_k, at the left knot.
        next_slope: d_{k+1}, at the right knot.
    """

    x: Array
    y: Array
    width: Array
    height: Array
    slope: Array
    next_slope: Array


def num_spline_params(num_bins: int) -> int:
    """Count the parameters of a spline: 3 K - 1 for K bins.

    They are K widths, K heights and the slopes at the K - 1 inner knots.

    Args:
        num_bins: K, in [1, 999].

    Returns:
        3 K - 1.

    Raises:
        ConfigError: K is not an integer in [1, 999].

    Example:
        >>> from dgm_jax import flows
        >>> flows.num_spline_params(8)
        23
    """
    fits = checks.is_whole(num_bins) and 1 <= num_bins < 1 / MIN_BIN
    require(fits, f"num_bins must be an integer in [1, 999]; got {num_bins!r}")
    return 3 * num_bins - 1


def spline_forward(x: Array, raw: Array, bound: float) -> tuple[Array, Array]:
    """Evaluate splines and their log-slopes.

    Widths and heights are softmax shares of the range, at least 0.001 of it each. Slopes are
    softplus values, at least 0.001, and 1 at both ends so that the linear tails join smoothly. Zero
    parameters give the identity to rounding.

    Args:
        x: [*B].
        raw: [*B, 3 K - 1], unconstrained parameters: K widths, K heights, K - 1 slopes.
        bound: half the width of the interval that the spline changes, in units of x.

    Returns:
        (y [*B], log dy/dx [*B] in nats).

    Raises:
        ConfigError: the last axis of raw is not 3 K - 1 long.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> y, log_slope = flows.spline_forward(jnp.array(0.5), jnp.zeros(5), 1.0)
        >>> print(f"{y:.4f} {abs(log_slope):.4f}")
        0.5000 0.0000
    """
    x, raw = widened(x, raw)
    inside = jnp.abs(x) <= bound
    # Outside, the spline is evaluated at 0 and the result discarded: its gradient is finite there.
    safe = jnp.where(inside, x, 0)
    bins = _find_bins(safe, raw, bound, by_height=False)
    position = (safe - bins.x) / bins.width
    xi = jnp.clip(position, 0, 1)
    y, log_slope = _evaluate(xi, bins)
    y = jnp.where(inside, y, x)
    log_slope = jnp.where(inside, log_slope, 0)
    return y, log_slope


def spline_inverse(y: Array, raw: Array, bound: float) -> tuple[Array, Array]:
    """Invert splines: solve a xi^2 + b xi + c = 0 in the bin of y.

    The root in [0, 1] is 2 c / (-b - sqrt(b^2 - 4 a c)), a form that loses no digits where a is
    near 0 (Durkan et al. 2019, eq. 6-8). One Newton step then removes most of the rounding error.

    Args:
        y: [*B].
        raw: [*B, 3 K - 1], unconstrained parameters as in `spline_forward`.
        bound: half the width of the interval that the spline changes, in units of y.

    Returns:
        (x [*B], log dx/dy [*B] in nats).

    Raises:
        ConfigError: the last axis of raw is not 3 K - 1 long.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> x, log_slope = flows.spline_inverse(jnp.array(0.5), jnp.zeros(5), 1.0)
        >>> print(f"{x:.4f} {abs(log_slope):.4f}")
        0.5000 0.0000
    """
    y, raw = widened(y, raw)
    inside = jnp.abs(y) <= bound
    safe = jnp.where(inside, y, 0)
    bins = _find_bins(safe, raw, bound, by_height=True)
    xi = _solve(safe, bins)
    # One Newton step on y(xi) = safe; dy/dxi is the slope dy/dx times the width of the bin.
    reached, log_slope = _evaluate(xi, bins)
    residual = reached - safe
    derivative = jnp.exp(log_slope) * bins.width
    xi = xi - residual / derivative
    xi = jnp.clip(xi, 0, 1)
    _, log_slope = _evaluate(xi, bins)
    x = bins.x + xi * bins.width
    x = jnp.where(inside, x, y)
    log_slope = jnp.where(inside, -log_slope, 0)
    return x, log_slope


def _solve(y: Array, bins: Bins) -> Array:
    """The relative position xi in [0, 1] of a bin at which the spline is y, up to rounding."""
    left = bins.slope
    height = bins.height
    slope = height / bins.width  # s_k
    rise = y - bins.y
    bend = bins.next_slope + left - 2 * slope
    # Coefficients of the quadratic equation in xi, eq. 6-8 of the paper.
    a = height * (slope - left) + rise * bend
    b = height * left - rise * bend
    c = -slope * rise
    # Rounding can make the discriminant negative; the guard also keeps the gradient finite at 0.
    discriminant = b * b - 4 * a * c
    tiny = jnp.finfo(discriminant.dtype).tiny
    guarded = jnp.where(discriminant > tiny, discriminant, tiny)
    root = jnp.sqrt(guarded)
    xi = 2 * c / (-b - root)
    return jnp.clip(xi, 0, 1)


def _evaluate(xi: Array, bins: Bins) -> tuple[Array, Array]:
    """(y, log dy/dx) at the relative position xi in [0, 1] of a bin: eq. 4 and 5 of the paper."""
    slope = bins.height / bins.width
    left = bins.slope
    right = bins.next_slope
    across = xi * (1 - xi)
    curvature = right + left - 2 * slope
    denominator = slope + curvature * across
    rise = slope * xi**2 + left * across
    y = bins.y + bins.height * rise / denominator
    at_right = right * xi**2
    between = 2 * slope * across
    at_left = left * (1 - xi) ** 2
    numerator = at_right + between + at_left
    log_numerator = 2 * jnp.log(slope) + jnp.log(numerator)
    log_denominator = 2 * jnp.log(denominator)
    return y, log_numerator - log_denominator


def _find_bins(value: Array, raw: Array, bound: float, by_height: bool) -> Bins:
    """The bin of each value, looked up among the heights of the knots or among their positions.

    Masks select the entries of a bin, because the gradient of a gather would be a scatter.
    """
    num_params = jnp.shape(raw)[-1]
    num_bins, remainder = divmod(num_params + 1, 3)
    fits = num_params >= 2 and remainder == 0
    require(fits, f"raw must be [*B, 3 K - 1] for K bins; got {num_params} numbers")
    widths = jax.nn.softmax(raw[..., :num_bins], -1)
    heights = jax.nn.softmax(raw[..., num_bins : 2 * num_bins], -1)
    raw_slopes = raw[..., 2 * num_bins :]
    index = _index(value, heights if by_height else widths, bound)
    one = jnp.sum(jnp.arange(num_bins) == index[..., None], -1)
    place = _Place(index, one.astype(raw.dtype))
    x, width = _interval(widths, place, bound)
    y, height = _interval(heights, place, bound)
    return Bins(
        x=x,
        y=y,
        width=width,
        height=height,
        slope=_slope(raw_slopes, place),
        next_slope=_slope(raw_slopes, place._replace(index=index + 1)),
    )


class _Place(NamedTuple):
    """Which of the K bins, or of the K + 1 knots.

    Attributes:
        index: int [*B].
        one: [*B], 1 everywhere; the compiler cannot know it.
    """

    index: Array
    one: Array


def _index(value: Array, shares: Array, bound: float) -> Array:
    """The number of inner knots at or below the value, which is the index of its bin."""
    num_bins = shares.shape[-1]
    before = jnp.cumsum(jax.lax.stop_gradient(shares), -1)[..., :-1]
    inner = _knot(before, jnp.arange(1, num_bins), num_bins, bound)
    return jnp.sum(value[..., None] >= inner, -1)


def _knot(before: Array, index: Array, num_bins: int, bound: float) -> Array:
    """The knot of an index; bins before it have these shares of what no minimum takes."""
    shared = 1 - MIN_BIN * num_bins
    return -bound + 2 * bound * (MIN_BIN * index + shared * before)


def _interval(shares: Array, place: _Place, bound: float) -> tuple[Array, Array]:
    """(left knot, extent) of a bin, of shares [*B, K]. The last bin ends at bound exactly."""
    num_bins = shares.shape[-1]
    index = place.index[..., None]
    before = _selected(shares, jnp.arange(num_bins) < index, place)
    own = _selected(shares, jnp.arange(num_bins) == index, place)
    left = _knot(before, place.index, num_bins, bound)
    extent = 2 * bound * (MIN_BIN + (1 - MIN_BIN * num_bins) * own)
    return left, jnp.where(place.index == num_bins - 1, bound - left, extent)


def _slope(raw: Array, place: _Place) -> Array:
    """The slope at a knot, of raw values [*B, K - 1] at the inner ones; 1 at both ends."""
    # softplus(shift) = 1 - MIN_SLOPE, so that a raw value of zero means a slope of 1.
    shift = math.log(math.expm1(1 - MIN_SLOPE))
    num_inner = raw.shape[-1]
    own = _selected(raw, jnp.arange(1, num_inner + 1) == place.index[..., None], place)
    is_inner = (place.index > 0) & (place.index <= num_inner)
    return jnp.where(is_inner, MIN_SLOPE + jax.nn.softplus(own + shift), 1)


def _selected(values: Array, mask: Array, place: _Place) -> Array:
    """Sum the values [*B, K] where the mask is set, and divide by one.

    The gradient of each of the K entries is that of the sum. XLA's CPU backend would compute all
    that leads to it K times, in the loop over the entries; what a division gives it computes once.
    """
    return jnp.sum(jnp.where(mask, values, 0), -1) / place.one
