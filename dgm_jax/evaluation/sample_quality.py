"""Distances between the distributions of two sets of feature vectors: kernel and sliced
Wasserstein, with Fréchet's in `frechet`.

The features are yours: raw coordinates, a classifier's last hidden layer, or Inception's
(`inception.features`). Values can be compared only for the same features *and* the same numbers of
samples: the Fréchet distance is biased upwards by about 1/N, the kernel distance is not biased
(Binkowski et al. 2018, "Demystifying MMD GANs", section 4).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
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


class KernelDistance(NamedTuple):
    """The mean over subsets, and its standard error: the deviation between subsets over the root of
    their number."""

    value: Array
    standard_error: Array


def kernel_distance(*, real: Array, fake: Array, tile_size: int = 512) -> Array:
    """Kernel (Inception) distance: unbiased MMD^2 with k(x, y) = (x.y / D + 1)^3; a scalar.

    mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j) over all pairs
    of real [N, D] and fake [M, D] (Gretton et al. 2012, eq. 3; Binkowski et al. 2018, section 4).
    Its mean is 0 for two samples of one distribution, so a single value may be negative.

    Runs over tile_size x tile_size tiles with compensated sums; works under jit and vmap. Raises
    `DataError` for a wrong rank, different D, fewer than two rows or non-finite values (in a
    compiled program these give NaN).
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
    """Mean and standard error of `kernel_distance` over random subsets, the form in which KID is
    published.

    Subsets are consecutive blocks of a random permutation, and of a new one when it is used up.
    While num_subsets * subset_size fits into both sets they are disjoint and the standard error is
    that of the estimate; beyond that subsets share rows and it is too small.
    """
    require(
        num_subsets >= 2, f"num_subsets must be at least 2 for a standard error; got {num_subsets}"
    )
    require(subset_size >= 2, f"subset_size must be at least 2; got {subset_size}")
    require_pair(real=real, fake=fake, at_least=subset_size, reason=f"subset_size is {subset_size}")
    return _over_subsets(
        key, at_least_float32(real), at_least_float32(fake), subset_size, num_subsets, tile_size
    )


def sliced_wasserstein(key: Key, *, real: Array, fake: Array, num_projections: int = 256) -> Array:
    """Sliced 2-Wasserstein distance of two sets of the same size: the root of the mean over random
    directions u of mean_i (sorted(real u)_i - sorted(fake u)_i)^2 (Rabin et al. 2011; Bonneel et
    al. 2015).

    A shift by delta gives |delta| / sqrt(D) on average over directions. Works under jit and vmap.
    """
    require(num_projections >= 1, f"num_projections must be at least 1; got {num_projections}")
    require_pair(real=real, fake=fake, at_least=1, reason="an empty set has no distribution")
    sizes = jnp.shape(real)[0], jnp.shape(fake)[0]
    require(
        sizes[0] == sizes[1],
        f"real and fake must have as many rows; got {sizes[0]} and {sizes[1]}",
        DataError,
    )
    return _sliced_wasserstein(key, at_least_float32(real), at_least_float32(fake), num_projections)


@functools.partial(jax.jit, static_argnames="tile_size")
def _squared_mmd(real: Array, fake: Array, tile_size: int) -> Array:
    # A constant taken from the kernel drops out of the distance, and with it most of what the sums
    # would round.
    typical = (jnp.mean(jnp.mean(real, axis=0) * jnp.mean(fake, axis=0)) + 1) ** 3
    within = _mean_kernel(real, real, typical, True, tile_size) + _mean_kernel(
        fake, fake, typical, True, tile_size
    )
    return within - 2 * _mean_kernel(real, fake, typical, False, tile_size)


def _mean_kernel(x: Array, y: Array, typical: Array, leave_diagonal: bool, tile_size: int) -> Array:
    """Mean of (x_i . y_j / D + 1)^3 - typical over pairs, without i = j where x is y."""
    x_tiles, x_rows = row_tiles(x, tile_size)
    y_tiles, y_rows = row_tiles(y, tile_size)

    def add_tile(total, left, right):
        (a, i), (b, j) = left, right
        products = jnp.matmul(a, b.T, precision=lax.Precision.HIGHEST) / x.shape[1] + 1
        counts = (i < len(x))[:, None] & (j < len(y))
        if leave_diagonal:
            counts &= i[:, None] != j
        value = jnp.sum(jnp.sum(jnp.where(counts, products**3 - typical, 0.0), axis=1))
        # Thousands of tiles are added in float32, and small differences of the means are the
        # result.
        return compensated_add(total[0], total[1], value)

    def add_row(total, left):
        return (
            lax.scan(lambda t, right: (add_tile(t, left, right), None), total, (y_tiles, y_rows))[
                0
            ],
            None,
        )

    zero = jnp.zeros((), x.dtype)
    total = lax.scan(add_row, (zero, zero), (x_tiles, x_rows))[0][0]
    return total / len(x) / (len(y) - 1 if leave_diagonal else len(y))


@functools.partial(jax.jit, static_argnames=("subset_size", "num_subsets", "tile_size"))
def _over_subsets(
    key: Key, real: Array, fake: Array, subset_size: int, num_subsets: int, tile_size: int
) -> KernelDistance:
    key_real, key_fake = jax.random.split(key)

    def one(index):
        x, y = (
            _subset(key_real, real, index, subset_size),
            _subset(key_fake, fake, index, subset_size),
        )
        return _squared_mmd(x, y, tile_size)

    values = lax.map(one, jnp.arange(num_subsets))
    return KernelDistance(jnp.mean(values), jnp.std(values, ddof=1) / num_subsets**0.5)


def _subset(key: Key, x: Array, index: Array, size: int) -> Array:
    blocks = len(x) // size
    order = jax.random.permutation(jax.random.fold_in(key, index // blocks), len(x))
    return x[lax.dynamic_slice_in_dim(order, (index % blocks) * size, size)]


@functools.partial(jax.jit, static_argnames="num_projections")
def _sliced_wasserstein(key: Key, real: Array, fake: Array, num_projections: int) -> Array:
    directions = normal(key, (num_projections, real.shape[1]), real.dtype)
    project = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)

    def one(direction):
        along = direction / jnp.linalg.norm(direction)
        return jnp.mean(jnp.square(jnp.sort(project(real, along)) - jnp.sort(project(fake, along))))

    return jnp.sqrt(jnp.mean(lax.map(one, directions)))
