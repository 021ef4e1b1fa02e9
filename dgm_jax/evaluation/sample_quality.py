"""The kernel and the sliced Wasserstein distance between two sets of feature vectors.

The Fréchet distance is in `frechet`. You choose the features: raw coordinates, a classifier's last
hidden layer, or Inception's (`inception.features`). Values are comparable only for the same
features *and* the same numbers of samples: the Fréchet distance is biased upwards by about 1/N, the
kernel distance is unbiased (Binkowski et al. 2018, "Demystifying MMD GANs", section 4).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dgm_jax.core import (
    Array,
    DataError,
    Key,
    at_least_float32,
    compensated_add,
    normal,
    require,
)
from dgm_jax.evaluation.features import require_pair, row_tiles

Tile = tuple[Array, Array]  # rows [R, D], and their numbers int32[R]
Total = tuple[Array, Array]  # a compensated sum
Step = tuple[Total, None]  # of a scan that adds to a total


class KernelDistance(NamedTuple):
    """A mean over subsets, with its standard error; both are scalars.

    Attributes:
        value: mean over subsets.
        standard_error: standard deviation between subsets over the root of their number.
    """

    value: Array
    standard_error: Array


def kernel_distance(*, real: Array, fake: Array, tile_size: int = 512) -> Array:
    """Compute the kernel (Inception) distance, the unbiased MMD^2 with k(x, y) = (x.y / D + 1)^3.

    mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j) over all pairs
    of real and fake rows (Gretton et al. 2012, eq. 3; Binkowski et al. 2018, section 4). Its mean
    is 0 for two samples of one distribution, so a single value may be negative. Works under jit and
    vmap.

    Args:
        real: [N, D].
        fake: [M, D].
        tile_size: pairs are summed in tiles of tile_size x tile_size, with compensated sums.

    Returns:
        A scalar.

    Raises:
        DataError: for a wrong rank, different D, fewer than two rows, or values that are not finite
            (in a compiled program these give NaN).

    Example:
        >>> import jax.numpy as jnp
        >>> float(kernel_distance(real=jnp.zeros((3, 2)), fake=jnp.ones((3, 2))))
        7.0
    """
    require_pair(real=real, fake=fake, at_least=2, reason="pairs of different rows are needed")
    return _squared_mmd(at_least_float32(real), at_least_float32(fake), tile_size)


def kernel_distance_over_subsets(
    key: Key,
    *,
    real: Array,
    fake: Array,
    subset_size: int = 1000,
    num_subsets: int = 100,
    tile_size: int = 512,
) -> KernelDistance:
    """Average `kernel_distance` over random subsets, the form in which KID is published.

    Subsets are consecutive blocks of a random permutation, followed by a new permutation when it is
    used up. While num_subsets * subset_size fits into both sets the subsets are disjoint and the
    standard error is that of the estimate; beyond that they share rows and it is too small.

    Args:
        key: random key for the permutations.
        real: [N, D].
        fake: [M, D].
        subset_size: rows of each set in a subset.
        num_subsets: number of subsets.
        tile_size: as in `kernel_distance`.

    Returns:
        Mean and standard error.

    Raises:
        ConfigError: if num_subsets or subset_size is below 2.
        DataError: as `kernel_distance`, and for fewer than subset_size rows.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> x = jnp.zeros((8, 2))
        >>> estimate = kernel_distance_over_subsets(
        ...     jax.random.key(0), real=x, fake=x + 1, subset_size=4, num_subsets=2
        ... )
        >>> float(estimate.value), float(estimate.standard_error)
        (7.0, 0.0)
    """
    require(
        num_subsets >= 2,
        f"num_subsets must be at least 2 for a standard error; got {num_subsets}",
    )
    require(subset_size >= 2, f"subset_size must be at least 2; got {subset_size}")
    require_pair(real=real, fake=fake, at_least=subset_size, reason=f"subset_size is {subset_size}")
    real = at_least_float32(real)
    fake = at_least_float32(fake)
    return _over_subsets(key, real, fake, subset_size, num_subsets, tile_size)


def sliced_wasserstein(key: Key, *, real: Array, fake: Array, num_projections: int = 256) -> Array:
    """Compute the sliced 2-Wasserstein distance of two sets of the same size.

    The root of the mean over random directions u of mean_i (sorted(real u)_i - sorted(fake u)_i)^2
    (Rabin et al. 2011; Bonneel et al. 2015). A shift by delta gives |delta| / sqrt(D) on average
    over directions. Works under jit and vmap.

    Args:
        key: random key for the directions.
        real: [N, D].
        fake: [N, D].
        num_projections: number of directions.

    Returns:
        A scalar, in the unit of the features.

    Raises:
        ConfigError: if num_projections < 1.
        DataError: for a wrong rank, different shapes, or (where values are known) values that are
            not finite.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0], [1.0]])
        >>> round(float(sliced_wasserstein(jax.random.key(0), real=x, fake=x + 3)), 4)
        3.0
    """
    require(num_projections >= 1, f"num_projections must be at least 1; got {num_projections}")
    require_pair(real=real, fake=fake, at_least=1, reason="an empty set has no distribution")
    num_real = jnp.shape(real)[0]
    num_fake = jnp.shape(fake)[0]
    require(
        num_real == num_fake,
        f"real and fake must have as many rows; got {num_real} and {num_fake}",
        DataError,
    )
    return _sliced_wasserstein(key, at_least_float32(real), at_least_float32(fake), num_projections)


@functools.partial(jax.jit, static_argnames="tile_size")
def _squared_mmd(real: Array, fake: Array, tile_size: int) -> Array:
    # A constant subtracted from the kernel cancels in the distance, and removes most of the sums'
    # rounding error.
    mean_real = jnp.mean(real, axis=0)
    mean_fake = jnp.mean(fake, axis=0)
    typical = (jnp.mean(mean_real * mean_fake) + 1) ** 3
    within_real = _mean_kernel_within(real, typical, tile_size)
    within_fake = _mean_kernel_within(fake, typical, tile_size)
    between = _mean_kernel_between(real, fake, typical, tile_size)
    return within_real + within_fake - 2 * between


def _mean_kernel_within(x: Array, typical: Array, tile_size: int) -> Array:
    """Mean of (x_i . x_j / D + 1)^3 - typical over pairs i != j.

    The kernel is symmetric: tile t meets the tiles t, t + 1, ... up to half of the way round, and
    a tile that it does not meet meets it.
    """
    num_rows = len(x)
    tiles = row_tiles(x, tile_size)
    num_tiles = len(tiles[0])
    twice = jax.tree.map(lambda a: jnp.concatenate([a, a]), tiles)
    shifts = np.arange(num_tiles // 2 + 1)
    meets_once = (shifts == 0) | (2 * shifts == num_tiles)
    weights = np.where(meets_once, 1, 2)

    def add_shift(total: Total, shift_and_weight: tuple[Array, Array]) -> Step:
        shift, weight = shift_and_weight
        partners = jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, shift, num_tiles), twice)

        def add(total: Total, pair: tuple[Tile, Tile]) -> Step:
            (a, i), (b, j) = pair
            i = i[:, None]
            are_rows = (i < num_rows) & (j < num_rows)
            is_pair = are_rows & (i != j)
            value = weight * _sum_of_tile(a, b, is_pair, typical)
            return compensated_add(*total, value), None

        return lax.scan(add, total, (tiles, partners))

    zero = jnp.zeros((), x.dtype)
    shifts = jnp.asarray(shifts, jnp.int32)
    weights = jnp.asarray(weights, x.dtype)
    (total, _), _ = lax.scan(add_shift, (zero, zero), (shifts, weights))
    return total / num_rows / (num_rows - 1)


def _mean_kernel_between(x: Array, y: Array, typical: Array, tile_size: int) -> Array:
    """Mean of (x_i . y_j / D + 1)^3 - typical over all pairs."""
    x_tiles = row_tiles(x, tile_size)
    y_tiles = row_tiles(y, tile_size)

    def add_row(total: Total, x_tile: Tile) -> Step:
        a, i = x_tile

        def add(total: Total, y_tile: Tile) -> Step:
            b, j = y_tile
            is_pair = (i < len(x))[:, None] & (j < len(y))
            value = _sum_of_tile(a, b, is_pair, typical)
            return compensated_add(*total, value), None

        return lax.scan(add, total, y_tiles)

    zero = jnp.zeros((), x.dtype)
    (total, _), _ = lax.scan(add_row, (zero, zero), x_tiles)
    return total / len(x) / len(y)


def _sum_of_tile(a: Array, b: Array, is_pair: Array, typical: Array) -> Array:
    """Sum of the kernel minus `typical` over the pairs of two tiles.

    The sums of tiles are added by compensated sums: there are thousands, and the distance is a
    small difference of such means.
    """
    products = jnp.matmul(a, b.T, precision=lax.Precision.HIGHEST)
    kernel = (products / a.shape[1] + 1) ** 3
    differences = jnp.where(is_pair, kernel - typical, 0.0)
    sums_of_rows = jnp.sum(differences, axis=1)
    return jnp.sum(sums_of_rows)


@functools.partial(jax.jit, static_argnames=("subset_size", "num_subsets", "tile_size"))
def _over_subsets(
    key: Key,
    real: Array,
    fake: Array,
    subset_size: int,
    num_subsets: int,
    tile_size: int,
) -> KernelDistance:
    key_real, key_fake = jax.random.split(key)

    def distance_of(index: Array) -> Array:
        x = _subset(key_real, real, index, subset_size)
        y = _subset(key_fake, fake, index, subset_size)
        return _squared_mmd(x, y, tile_size)

    values = lax.map(distance_of, jnp.arange(num_subsets))
    standard_error = jnp.std(values, ddof=1) / num_subsets**0.5
    return KernelDistance(jnp.mean(values), standard_error)


def _subset(key: Key, x: Array, index: Array, size: int) -> Array:
    """Subset number `index`: a block of a permutation of x, a new one once all are used."""
    num_blocks = len(x) // size
    block = index % num_blocks
    permutation_key = jax.random.fold_in(key, index // num_blocks)
    order = jax.random.permutation(permutation_key, len(x))
    numbers = lax.dynamic_slice_in_dim(order, block * size, size)
    return x[numbers]


@functools.partial(jax.jit, static_argnames="num_projections")
def _sliced_wasserstein(key: Key, real: Array, fake: Array, num_projections: int) -> Array:
    directions = normal(key, (num_projections, real.shape[1]), real.dtype)
    project = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)

    def squared_distance(direction: Array) -> Array:
        unit = direction / jnp.linalg.norm(direction)
        sorted_real = jnp.sort(project(real, unit))
        sorted_fake = jnp.sort(project(fake, unit))
        gaps = sorted_real - sorted_fake
        return jnp.mean(jnp.square(gaps))

    squares = lax.map(squared_distance, directions)
    return jnp.sqrt(jnp.mean(squares))
