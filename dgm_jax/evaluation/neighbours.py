"""Precision, recall, density and coverage: how the supports of two sets of samples overlap.

Each sample carries a ball whose radius is the distance to its k-th nearest neighbor in the same
set, not counting the sample itself. The union of the balls is the set's estimated support
(Kynkaanniemi et al. 2019, "Improved precision and recall metric for assessing generative models",
eq. 1-2; Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models", section
3). A point on the border counts as inside (`<=`): a set against itself has precision, recall and
coverage 1, where public code with `<` gives less, even 0 with duplicates.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, at_least_float32, product_parts, require
from dgm_jax.evaluation.features import require_pair, row_tiles

# Up to this many features a squared distance is a sum of squared differences, which is exact for
# tight clusters far from the origin, such as modes in the plane. With more features it is
# |x|^2 + |y|^2 - 2 x.y, a matrix product, which is about ten times as fast; entries whose rounding
# error could decide a comparison are then recomputed from differences.
_FEW_FEATURES = 16

# Doubtful entries are recomputed in whole runs of this many columns, and as many runs at a time as
# make `_AT_ONCE` numbers.
_RUN = 32
_AT_ONCE = 1 << 21

# Distances that differ by at most this many units of rounding count as equal.
_TIE = 8

# Which real samples lie in a fake ball, and which real balls hold a fake sample, bool[N] each.
_Flags = tuple[Array, Array]

# The number of runs that are settled, int32[], and squared distances in runs.
_Settled = tuple[Array, Array]


class _Rows(NamedTuple):
    """Feature vectors [N, D], as given and minus the mean of the real ones."""

    given: Array
    centered: Array


class PrecisionRecall(NamedTuple):
    """Overlap of two estimated supports, four scalars; see `precision_recall_density_coverage`.

    Attributes:
        precision: share of fake samples inside at least one real ball (fidelity; a collapsed
            generator scores high).
        recall: share of real samples inside at least one fake ball (diversity; a collapsed
            generator scores low).
        density: mean number of real balls that hold a fake sample, over k; may exceed 1. Its mean
            is 1 for two samples of one distribution, and it is (k + 1) / k for a set against
            itself: each point lies in its own ball and in k others.
        coverage: share of real balls that hold a fake sample. For two samples of one distribution
            its mean is 1 - prod_{i<k} (N - 1 - i) / (N + M - 1 - i), about 1 - 2^-k for N = M
            (0.969 at k = 5).
    """

    precision: Array
    recall: Array
    density: Array
    coverage: Array


def precision_recall_density_coverage(
    *, real: Array, fake: Array, nearest_k: int = 5, tile_size: int = 256
) -> PrecisionRecall:
    """Measure how much of `fake` lies where `real` lies, and the reverse; works under jit and vmap.

    Runs over tiles of rows: memory is linear in N + M (tile_size of them at a time). Two distances
    that agree up to rounding count as equal.

    Args:
        real: [N, D]; raw features, compared by the Euclidean distance.
        fake: [M, D].
        nearest_k: the k of the k-th nearest neighbor that sets the radius of a ball.
        tile_size: largest number of rows at a time.

    Returns:
        A `PrecisionRecall` of scalars.

    Raises:
        ConfigError: if nearest_k < 1.
        DataError: for a wrong rank, different D, fewer than k + 1 rows, or values that are not
            finite (inside a compiled program these give NaN).

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0], [1.0], [2.0]])
        >>> scores = precision_recall_density_coverage(real=x, fake=x + 100.0, nearest_k=1)
        >>> float(scores.precision), float(scores.coverage)
        (0.0, 0.0)
    """
    require(nearest_k >= 1, f"nearest_k must be at least 1; got {nearest_k}")
    reason = f"a ball reaches to the neighbour number {nearest_k}, the sample itself not counted"
    require_pair(real=real, fake=fake, at_least=nearest_k + 1, reason=reason)
    return _compare(at_least_float32(real), at_least_float32(fake), nearest_k, tile_size)


@functools.partial(jax.jit, static_argnames=("nearest_k", "tile_size"))
def _compare(real: Array, fake: Array, nearest_k: int, tile_size: int) -> PrecisionRecall:
    # Centered, because the rounding error of the product form grows with the vectors' lengths.
    center = jnp.mean(real, axis=0)
    real_set = _Rows(real, real - center)
    fake_set = _Rows(fake, fake - center)
    real_radii = _squared_radii(real_set, nearest_k, tile_size)
    fake_radii = _squared_radii(fake_set, nearest_k, tile_size)
    recalled, covered, num_balls = _inside(real_set, fake_set, real_radii, fake_radii, tile_size)
    dtype = real.dtype
    num_balls = num_balls.astype(dtype)
    scores = PrecisionRecall(
        precision=jnp.mean(num_balls > 0, dtype=dtype),
        recall=jnp.mean(recalled, dtype=dtype),
        density=jnp.mean(num_balls) / nearest_k,
        coverage=jnp.mean(covered, dtype=dtype),
    )
    real_is_finite = jnp.all(jnp.isfinite(real))
    fake_is_finite = jnp.all(jnp.isfinite(fake))
    is_finite = real_is_finite & fake_is_finite
    # inf - inf makes a NaN only if the input is not finite, so that `jax_debug_nans` without
    # compilation stops at no other input.
    zero_or_inf = jnp.where(is_finite, 0, jnp.inf).astype(dtype)
    zero_or_nan = zero_or_inf - zero_or_inf
    return jax.tree.map(lambda score: jnp.where(is_finite, score, zero_or_nan), scores)


def _inside(
    real_set: _Rows,
    fake_set: _Rows,
    real_radii: Array,
    fake_radii: Array,
    tile_size: int,
) -> tuple[Array, Array, Array]:
    """Which samples lie inside the other set's balls.

    Args:
        real_set: N real vectors.
        fake_set: M fake vectors.
        real_radii: [N], squared radii of the real balls.
        fake_radii: [M], squared radii of the fake balls.
        tile_size: largest number of fake rows at a time.

    Returns:
        recalled: bool[N], whether a real sample lies in a fake ball.
        covered: bool[N], whether a real ball holds a fake sample.
        num_balls: int32[M], in how many real balls a fake sample lies.
    """
    num_fake = len(fake_set.given)
    tiles, rows = row_tiles(fake_set.given, tile_size)
    centered, _ = row_tiles(fake_set.centered, tile_size)
    tile_radii, _ = row_tiles(fake_radii, tile_size)

    def compare_tile(
        flags: _Flags, tile_radii_row: tuple[_Rows, Array, Array]
    ) -> tuple[_Flags, Array]:
        recalled, covered = flags
        tile, radii, row = tile_radii_row
        radii = radii[:, None]
        is_row = (row < num_fake)[:, None]
        squares, rounding = _squared_distances(tile.centered, real_set.centered)
        real_doubtful = jnp.abs(squares - real_radii) <= rounding
        fake_doubtful = jnp.abs(squares - radii) <= rounding
        doubtful = (real_doubtful | fake_doubtful) & is_row
        squares = _settle(squares, doubtful, tile.given, real_set.given)
        epsilon = jnp.finfo(squares.dtype).eps
        at_least = squares * (1 - _TIE * epsilon)
        inside_real = (at_least <= real_radii) & is_row
        inside_fake = (at_least <= radii) & is_row
        recalled = recalled | jnp.any(inside_fake, axis=0)
        covered = covered | jnp.any(inside_real, axis=0)
        num_balls = jnp.sum(inside_real, axis=1, dtype=jnp.int32)
        return (recalled, covered), num_balls

    none = jnp.zeros(len(real_set.given), bool)
    tile_sets = _Rows(tiles, centered)
    flags, num_balls = lax.scan(compare_tile, (none, none), (tile_sets, tile_radii, rows))
    recalled, covered = flags
    num_balls = num_balls.reshape(-1)[:num_fake]
    return recalled, covered, num_balls


@functools.partial(jax.jit, static_argnames=("nearest_k", "tile_size"))
def _squared_radii(x: _Rows, nearest_k: int, tile_size: int) -> Array:
    """The squared radius [N] of each row's ball: the distance to its k-th nearest other row."""
    tiles, rows = row_tiles(x.given, tile_size)
    centered, _ = row_tiles(x.centered, tile_size)
    num_rows = len(x.given)

    def kth_smallest(squares: Array) -> Array:
        # A maximum and not [:, -1]: with that slice XLA sorts whole rows, about 30 times as slow
        # on CPU.
        negated, _ = lax.top_k(-squares, nearest_k)
        smallest = -negated
        return jnp.max(smallest, axis=1)

    def radius(tile_and_rows: tuple[_Rows, Array]) -> Array:
        tile, index = tile_and_rows
        squares, rounding = _squared_distances(tile.centered, x.centered)
        is_self = index[:, None] == jnp.arange(num_rows)
        squares = jnp.where(is_self, jnp.inf, squares)
        # None of the k nearest neighbors is farther than this.
        bound = kth_smallest(squares + rounding)[:, None]
        is_row = (index < num_rows)[:, None]
        may_be_near = squares - rounding <= bound
        doubtful = may_be_near & ~is_self & is_row
        settled = _settle(squares, doubtful, tile.given, x.given)
        settled = jnp.where(is_self, jnp.inf, settled)
        return kth_smallest(settled)

    tile_sets = _Rows(tiles, centered)
    radii = lax.map(radius, (tile_sets, rows))
    return radii.reshape(-1)[:num_rows]


def _settle(squares: Array, doubtful: Array, x: Array, y: Array) -> Array:
    """|x_i - y_j|^2 [R, N] with doubtful entries recomputed as a sum of squared differences.

    The work is proportional to the number of runs of `_RUN` columns that hold a doubtful entry.
    They are recomputed `_AT_ONCE` numbers at a time, [num_at_once, _RUN, D] in memory.
    """
    dim = x.shape[-1]
    if dim <= _FEW_FEATURES:
        return squares
    num_rows, num_columns = squares.shape
    num_runs = -(-num_columns // _RUN)
    padding = (0, -num_columns % _RUN)
    in_runs = (num_rows, num_runs, _RUN)
    columns = jnp.pad(y, (padding, (0, 0)))
    columns = columns.reshape(num_runs, _RUN, dim)
    grid = jnp.pad(squares, ((0, 0), padding))
    grid = grid.reshape(in_runs)
    marked = jnp.pad(doubtful, ((0, 0), padding))
    marked = marked.reshape(in_runs)
    marked = marked.any(-1).reshape(-1)
    num_at_once = max(_AT_ONCE // (_RUN * dim), 1)
    num_marked = jnp.sum(marked, dtype=jnp.int32)
    (places,) = jnp.nonzero(marked, size=marked.size, fill_value=marked.size)
    places = places.astype(jnp.int32)
    places = jnp.pad(places, (0, num_at_once), constant_values=marked.size)

    def is_unfinished(state: _Settled) -> Array:
        num_settled, _ = state
        return num_settled < num_marked

    def settle(state: _Settled) -> _Settled:
        num_settled, grid = state
        place = lax.dynamic_slice(places, (num_settled,), (num_at_once,))
        row = place // num_runs
        run = place % num_runs
        differences = x[row][:, None] - columns[run]
        exact = jnp.sum(jnp.square(differences), axis=-1)
        # The fill value is a row that does not exist, so it is dropped.
        grid = grid.at[row, run].set(exact, mode="drop")
        return num_settled + num_at_once, grid

    start = (jnp.int32(0), grid)
    _, grid = lax.while_loop(is_unfinished, settle, start)
    grid = grid.reshape(num_rows, -1)
    return grid[:, :num_columns]


def _squared_distances(x: Array, y: Array) -> tuple[Array, Array]:
    """|x_i - y_j|^2 [R, N] and a bound on its rounding error."""
    epsilon = jnp.finfo(x.dtype).eps
    num_features = x.shape[-1]
    if num_features <= _FEW_FEATURES:
        differences = x[:, None, :] - y
        squares = jnp.sum(jnp.square(differences), axis=-1)
        return squares, 4 * epsilon * squares
    parts = product_parts(num_features)
    x_parts = [x[:, part] for part in parts]
    y_parts = [y[:, part] for part in parts]
    x_sizes = _squared_lengths(x_parts)
    y_sizes = _squared_lengths(y_parts)
    sizes = x_sizes[:, None] + y_sizes
    product = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    products = sum(product(a, b.T) for a, b in zip(x_parts, y_parts, strict=True))
    squares = jnp.maximum(sizes - 2 * products, 0.0)
    return squares, 8 * epsilon * sizes


def _squared_lengths(parts: list[Array]) -> Array:
    """The squared lengths [R] of vectors given in parts of their features, [R, d] each."""
    squares = [jnp.sum(part * part, axis=-1) for part in parts]
    return functools.reduce(jnp.add, squares)
