"""The average of N diagonal Gaussians, such as the aggregated posterior of N data points.

q(x) = 1/N sum_j N(x; m_j, diag(s_j)^2), in nats, summed over all N in tiles, so that memory is
linear in N.

With w = 1 / s^2, and x and m relative to the mean of all m, the log-densities of a tile are two
matrix products,

    c_j - (sum_d x_id^2 w_jd + sum_d m_jd^2 w_jd) / 2 + sum_d x_id m_jd w_jd,

in which digits cancel. Each is off by at most r_ij = 8 eps (sum_d x_id^2 w_jd + m_jd^2 w_jd +
|log s_jd| + log(2 pi) / 2): sums have at most 64 terms of one sign, and 8 eps is six times the
standard deviation of their rounding errors. So log q(x_i), a log-sum-exp, is off by at most

    b_i = log sum_j exp(l_ij + r_ij) - log sum_j exp(l_ij),  l_ij the computed log-densities,

as it rises with each l_ij and is convex along r. A tile with a row whose b_i exceeds `TOLERANCE` is
summed again from ((x - m) / s)^2, which cancels nothing. That happens where many Gaussians are
narrow, far from the center and near x.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from dgm_jax.core import (
    Array,
    checks,
    even_chunks,
    product_parts,
    require,
    streamed_log_sum_exp,
    widened,
)
from dgm_jax.densities._marginal_sums import marginal_sums
from dgm_jax.densities.gaussian import HALF_LOG_TWO_PI

TOLERANCE = 1e-3  # nats

# Rounding errors of a sum of up to 64 terms, in units of eps times the sum of their sizes.
_ROUNDINGS = 8

# With fewer dimensions products save nothing.
_FEW_DIMENSIONS = 8

# Gaussians that are added to a tile at once from squared differences.
_DIFFERENCES_AT_ONCE = 64

Arrays = tuple[Array, ...]
# loc and scale, [T, P, D] or of one chunk [P, D], and the numbers of the Gaussians, int32[T, P] or
# [P], negative for padding.
Chunks = tuple[Array, Array, Array]


def log_prob(
    x: Array, loc: Array, scale: Array, *, paired: bool = False, chunk_size: int = 512
) -> Array:
    """log 1/N sum_j N(x_i; m_j, diag(s_j)^2), within `TOLERANCE`, for each row of x.

    The work is O(M N D), as matrix products where their rounding error allows (see the module), and
    in any case for no more than 8 dimensions from squared differences. Derivatives are those of the
    squared differences, computed anew for each tile.

    Args:
        x: [M, D].
        loc: [N, D].
        scale: standard deviations [N, D].
        paired: row i of x is a draw of Gaussian i mod N, whose term is then always computed without
            cancellation: it is the largest where Gaussians are narrow.
        chunk_size: rows of x, and Gaussians, in a tile: [chunk_size, chunk_size] numbers, and
            [D, 64, chunk_size] of squared differences.

    Returns:
        Nats [M].

    Raises:
        ConfigError: shapes that do not fit, or a chunk_size below 1.

    Example:
        >>> loc = jnp.array([[-1.0], [1.0]])
        >>> value = aggregate.log_prob(jnp.zeros((1, 1)), loc, jnp.ones((2, 1)))
        >>> print(f"{value[0]:.4f}")  # log N(1; 0, 1)
        -1.4189
    """
    x, loc, scale = _checked(x, loc, scale, chunk_size)
    if not len(x):
        return jnp.zeros(0, x.dtype)
    if loc.shape[1] <= _FEW_DIMENSIONS:
        total = _directly(x, loc, scale, chunk_size)
    else:
        total = _total(x, loc, scale, paired, chunk_size)
    return total - math.log(len(loc))


def log_marginals(x: Array, loc: Array, scale: Array, *, chunk_size: int = 512) -> Array:
    """log 1/N sum_j N(x_id; m_jd, s_jd^2) for each dimension d.

    M N D exponentials, without cancellation.

    Args:
        x: [M, D].
        loc: [N, D].
        scale: standard deviations [N, D].
        chunk_size: rows of x in a tile.

    Returns:
        Nats [M, D].

    Raises:
        ConfigError: shapes that do not fit, or a chunk_size below 1.

    Example:
        >>> loc = jnp.array([[-1.0, 0.0], [1.0, 0.0]])
        >>> value = aggregate.log_marginals(jnp.zeros((1, 2)), loc, jnp.ones((2, 2)))
        >>> print(f"{value[0, 0]:.4f} {value[0, 1]:.4f}")
        -1.4189 -0.9189
    """
    x, loc, scale = _checked(x, loc, scale, chunk_size)
    if not len(x):
        return jnp.zeros(x.shape, x.dtype)
    sums = marginal_sums(x, loc, scale, chunk_size)
    return sums - math.log(len(loc))


@functools.partial(jax.custom_jvp, nondiff_argnums=(3, 4))
def _total(x: Array, loc: Array, scale: Array, paired: bool, chunk_size: int) -> Array:
    """log sum_j N(x_i; m_j, s_j^2), [M], by products where their error allows."""
    row = jnp.arange(len(x), dtype=jnp.int32)
    if paired:
        own = row % len(loc)
        ratios = (x - loc[own]) / scale[own]
        distance = jnp.sum(jnp.square(ratios), axis=-1)
    else:
        own = jnp.full_like(row, -1)
        distance = jnp.zeros(len(x), x.dtype)
    center = jnp.mean(loc, axis=0)
    chunks = _chunks(loc, scale, chunk_size)
    few_at_once = _chunks(loc, scale, _DIFFERENCES_AT_ONCE)

    def of_tile(tile: Arrays) -> Array:
        x, is_row, own, distance = tile
        total, bound = _by_products(x - center, own, distance, chunks, center)
        doubtful = jnp.any(is_row & ~(bound <= TOLERANCE))  # NaN is doubtful
        return _if_any(doubtful, lambda: _from_differences(x, few_at_once), total)

    tiles = (
        even_chunks(x, chunk_size, 0.0),
        even_chunks(jnp.ones(len(x), bool), chunk_size, False),
        even_chunks(own, chunk_size, -1),
        even_chunks(distance, chunk_size, 0.0),
    )
    sums = lax.map(of_tile, tiles)
    return sums.reshape(-1)[: len(x)]


@_total.defjvp
def _total_jvp(
    paired: bool, chunk_size: int, primals: Arrays, tangents: Arrays
) -> tuple[Array, Array]:
    total = _total(*primals, paired, chunk_size)
    differences = functools.partial(_directly, chunk_size=chunk_size)
    _, tangent = jax.jvp(differences, primals, tangents)
    return total, tangent


def _if_any(needed: Array, compute: Callable[[], Array], otherwise: Array) -> Array:
    """`compute()` if needed. As a loop of no or one pass: under vmap a `cond` would always compute
    both."""

    def compute_once(state: Arrays) -> Arrays:
        is_needed, _ = state
        return jnp.zeros_like(is_needed), compute()

    _, value = lax.while_loop(lambda state: state[0], compute_once, (needed, otherwise))
    return value


def _by_products(
    x: Array, own: Array, distance: Array, chunks: Chunks, center: Array
) -> tuple[Array, Array]:
    """Log-sum of all densities at the rows of x, and the bound of its error, [R] each.

    Args:
        x: [R, D], relative to the center.
        own: int32[R], the number of the Gaussian whose squared distance is given; -1 for none.
        distance: [R], that squared distance, in units of the standard deviations.
        chunks: the Gaussians.
        center: [D].

    Returns:
        Nats, without the factor 1/N.
    """
    squares = jnp.square(x)  # tiles are [P, R]: sums over the first axis are faster on CPU
    epsilon = _ROUNDINGS * jnp.finfo(x.dtype).eps

    def add(state: Arrays, chunk: Chunks) -> tuple[Arrays, None]:
        top, total, raised = state
        loc, scale, index = chunk
        loc = loc - center
        weight = 1 / jnp.square(scale)
        log_scale = jnp.log(scale)
        constant = -jnp.sum(log_scale + HALF_LOG_TWO_PI, axis=-1)
        constant = jnp.where(index >= 0, constant, -jnp.inf)
        spread = jnp.sum(jnp.abs(log_scale) + HALF_LOG_TWO_PI, axis=-1)
        sizes = _product(weight, squares)
        sizes_of_loc = _sum(jnp.square(loc) * weight)
        sizes = sizes + sizes_of_loc[:, None]
        distances = sizes - 2 * _product(loc * weight, x)
        is_own = index[:, None] == own
        sizes = jnp.where(is_own, distance, sizes)
        distances = jnp.where(is_own, distance, distances)
        log_densities = constant[:, None] - distances / 2
        rounding = epsilon * (sizes + spread[:, None])
        new = jnp.maximum(top, jnp.max(log_densities, axis=0))
        shifted = log_densities - new
        old = jnp.exp(top - new)
        total = total * old + jnp.sum(jnp.exp(shifted), axis=0)
        raised = raised * old + jnp.sum(jnp.exp(shifted + rounding), axis=0)
        return (new, total, raised), None

    lowest = _lowest(x)
    zero = jnp.zeros_like(lowest)
    (top, total, raised), _ = lax.scan(add, (lowest, zero, zero), chunks)
    return top + jnp.log(total), jnp.log(raised / total)


def _directly(x: Array, loc: Array, scale: Array, chunk_size: int) -> Array:
    """log sum_j N(x_i; m_j, s_j^2) from squared differences, [M]."""
    chunks = _chunks(loc, scale, _DIFFERENCES_AT_ONCE)
    tiles = even_chunks(x, chunk_size, 0.0)
    sums = lax.map(lambda x: _from_differences(x, chunks), tiles)
    return sums.reshape(-1)[: len(x)]


def _from_differences(x: Array, chunks: Chunks) -> Array:
    """Log-sum of all densities at the rows of x [R, D] from squared differences: [R]."""

    def of_chunk(chunk: Chunks) -> Array:
        loc, scale, index = chunk
        differences = x.T[:, None] - loc.T[:, :, None]  # [D, P, R]
        ratios = differences / scale.T[:, :, None]
        constants = -jnp.sum(jnp.log(scale) + HALF_LOG_TWO_PI, axis=-1)
        distances = jnp.sum(jnp.square(ratios), axis=0)
        log_densities = constants[:, None] - distances / 2
        is_gaussian = (index >= 0)[:, None]
        log_densities = jnp.where(is_gaussian, log_densities, -jnp.inf)
        return jax.nn.logsumexp(log_densities, axis=0)

    # A finite start adds exactly nothing, and unlike -inf it has a gradient.
    return streamed_log_sum_exp(of_chunk, chunks, _lowest(x))


def _lowest(x: Array) -> Array:
    """A log-density for each row of x, [R], so low that it adds nothing."""
    return jnp.full(len(x), jnp.finfo(x.dtype).min / 4, x.dtype)


def _chunks(loc: Array, scale: Array, chunk_size: int) -> Chunks:
    index = jnp.arange(len(loc), dtype=jnp.int32)
    return (
        even_chunks(loc, chunk_size, 0.0),
        even_chunks(scale, chunk_size, 1.0),
        even_chunks(index, chunk_size, -2),
    )


def _product(a: Array, b: Array) -> Array:
    """a [P, D] times b [R, D] transposed, in sums of at most about 64 terms."""
    product = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    parts = product_parts(a.shape[-1])
    products = [product(a[:, part], b[:, part].T) for part in parts]
    return functools.reduce(jnp.add, products)


def _sum(terms: Array) -> Array:
    """Over the last axis, in sums of at most about 64 terms."""
    parts = product_parts(terms.shape[-1])
    sums = [jnp.sum(terms[..., part], axis=-1) for part in parts]
    return functools.reduce(jnp.add, sums)


def _checked(x: Array, loc: Array, scale: Array, chunk_size: int) -> tuple[Array, Array, Array]:
    """The arrays in their common type, at least float32."""
    shape = jnp.shape(loc)
    scale_shape = jnp.shape(scale)
    x_shape = jnp.shape(x)
    are_gaussians = len(shape) == 2 and min(shape) >= 1 and scale_shape == shape
    require(
        are_gaussians and len(x_shape) == 2 and x_shape[1] == shape[1],
        f"loc and scale must be [N, D] and x [M, D]; got loc {shape}, scale {scale_shape}, x"
        f" {x_shape}",
    )
    checks.whole(chunk_size, "chunk_size")
    scale = checks.positive(scale, "scale")
    x, loc, scale = widened(x, loc, scale)
    return x, loc, scale
