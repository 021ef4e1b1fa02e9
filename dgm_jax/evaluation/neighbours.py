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
    num_balls = num_balls.astype(real.dtype)
    scores = PrecisionRecall(
        precision=jnp.mean(num_balls > 0, dtype=real.dtype),
        recall=jnp.mean(recalled, dtype=real.dtype),
        density=jnp.mean(num_balls) / nearest_k,
        coverage=jnp.mean(covered, dtype=real.dtype),
    )
    finite = jnp.all(jnp.isfinite(real)) & jnp.all(jnp.isfinite(fake))
    # inf - inf makes a NaN only if the input is not finite, so that `jax_debug_nans` without
    # compilation stops at no other input.
    zero_or_inf = jnp.where(finite, 0, jnp.inf).astype(real.dtype)
    return jax.tree.map(lambda score: jnp.where(finite, score, zero_or_inf - zero_or_inf), scores)


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
    num_real = len(real_set.given)
    num_fake = len(fake_set.given)
    tiles, rows = row_tiles(fake_set.given, tile_size)
    centered, _ = row_tiles(fake_set.centered, tile_size)
    tile_radii, _ = row_tiles(fake_radii, tile_size)

    def compare_tile(
        flags: tuple[Array, Array], tile_radii_row: tuple[_Rows, Array, Array]
    ) -> tuple[tuple[Array, Array], Array]:
        recalled, covered = flags
        tile, radii, row = tile_radii_row
        is_row = (row < num_fake)[:, None]
        squares, rounding = _squared_distances(tile.centered, real_set.centered)
        real_doubtful = jnp.abs(squares - real_radii) <= rounding
        fake_doubtful = jnp.abs(squares - radii[:, None]) <= rounding
        doubtful = (real_doubtful | fake_doubtful) & is_row
        squares = _settle(squares, doubtful, tile.given, real_set.given)
        at_least = squares * (1 - _TIE * jnp.finfo(squares.dtype).eps)
        inside_real = (at_least <= real_radii) & is_row
        inside_fake = (at_least <= radii[:, None]) & is_row
        recalled = recalled | jnp.any(inside_fake, axis=0)
        covered = covered | jnp.any(inside_real, axis=0)
        return (recalled, covered), jnp.sum(inside_real, axis=1, dtype=jnp.int32)

    none = jnp.zeros(num_real, bool)
    (recalled, covered), num_balls = lax.scan(
        compare_tile, (none, none), (_Rows(tiles, centered), tile_radii, rows)
    )
    return recalled, covered, num_balls.reshape(-1)[:num_fake]


@functools.partial(jax.jit, static_argnames=("nearest_k", "tile_size"))
def _squared_radii(x: _Rows, nearest_k: int, tile_size: int) -> Array:
    """The squared radius [N] of each row's ball: the distance to its k-th nearest other row."""
    tiles, rows = row_tiles(x.given, tile_size)
    centered, _ = row_tiles(x.centered, tile_size)
    num_rows = len(x.given)

    def kth_smallest(squares: Array) -> Array:
        # A maximum and not [:, -1]: with that slice XLA sorts whole rows, about 30 times as slow
        # on CPU.
        smallest = -lax.top_k(-squares, nearest_k)[0]
        return jnp.max(smallest, axis=1)

    def radius(tile_and_rows: tuple[_Rows, Array]) -> Array:
        tile, index = tile_and_rows
        squares, rounding = _squared_distances(tile.centered, x.centered)
        is_self = index[:, None] == jnp.arange(num_rows)
        squares = jnp.where(is_self, jnp.inf, squares)
        # None of the k nearest neighbors is farther than this.
        bound = kth_smallest(squares + rounding)[:, None]
        is_row = (index < num_rows)[:, None]
        doubtful = (squares - rounding <= bound) & ~is_self & is_row
        settled = _settle(squares, doubtful, tile.given, x.given)
        return kth_smallest(jnp.where(is_self, jnp.inf, settled))

    return lax.map(radius, (_Rows(tiles, centered), rows)).reshape(-1)[:num_rows]


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
    padding = -num_columns % _RUN
    in_runs = (num_rows, num_runs, _RUN)
    columns = jnp.pad(y, ((0, padding), (0, 0)))
    columns = columns.reshape(num_runs, _RUN, dim)
    grid = jnp.pad(squares, ((0, 0), (0, padding)))
    grid = grid.reshape(in_runs)
    marked = jnp.pad(doubtful, ((0, 0), (0, padding)))
    marked = marked.reshape(in_runs).any(-1)
    num_at_once = max(_AT_ONCE // (_RUN * dim), 1)
    count = jnp.sum(marked, dtype=jnp.int32)
    (places,) = jnp.nonzero(marked.reshape(-1), size=marked.size, fill_value=marked.size)
    places = jnp.pad(places.astype(jnp.int32), (0, num_at_once), constant_values=marked.size)

    def settle(state: tuple[Array, Array]) -> tuple[Array, Array]:
        done, grid = state
        place = lax.dynamic_slice(places, (done,), (num_at_once,))
        row = place // num_runs
        run = place % num_runs
        differences = x[row][:, None] - columns[run]
        exact = jnp.sum(jnp.square(differences), axis=-1)
        # The fill value is a row that does not exist, so it is dropped.
        return done + num_at_once, grid.at[row, run].set(exact, mode="drop")

    _, grid = lax.while_loop(lambda state: state[0] < count, settle, (jnp.int32(0), grid))
    return grid.reshape(num_rows, -1)[:, :num_columns]


def _squared_distances(x: Array, y: Array) -> tuple[Array, Array]:
    """|x_i - y_j|^2 [R, N] and a bound on its rounding error."""
    epsilon = jnp.finfo(x.dtype).eps
    if x.shape[-1] <= _FEW_FEATURES:
        differences = x[:, None, :] - y
        squares = jnp.sum(jnp.square(differences), axis=-1)
        return squares, 4 * epsilon * squares
    parts = [(x[:, part], y[:, part]) for part in product_parts(x.shape[-1])]
    x_sizes = functools.reduce(jnp.add, [jnp.sum(a * a, axis=-1) for a, _ in parts])
    y_sizes = functools.reduce(jnp.add, [jnp.sum(b * b, axis=-1) for _, b in parts])
    products = sum(jnp.matmul(a, b.T, precision=lax.Precision.HIGHEST) for a, b in parts)
    sizes = x_sizes[:, None] + y_sizes
    squares = jnp.maximum(sizes - 2 * products, 0.0)
    return squares, 8 * epsilon * sizes
